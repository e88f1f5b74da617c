package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Forget drops finished jobs from memory, after their retention and when their money is settled;
// the book keeps their history.
type Forget struct {
	Jobs []scheduler.JobID `cbor:"1,keyasint"`
}

// ForgetAnswer lists the jobs that had to stay.
type ForgetAnswer struct {
	Refused []RefusedItem `cbor:"1,keyasint,omitempty"`
}

// Kind is part of [Command].
func (Forget) Kind() Kind { return KindForget }

// Retention is how long a finished job's private side is kept: command, logs, outputs, deposits.
const Retention funding.Millis = 7 * 86_400_000

func (c Forget) apply(tx *Tx, at funding.Millis) (any, error) {
	if len(c.Jobs) > ExpireMax {
		return nil, refuse(CodeLimit, "at most %d jobs are forgotten at once", ExpireMax)
	}
	var answer ForgetAnswer
	for i, id := range c.Jobs {
		job, ok := tx.jobs.get(id)
		switch {
		case !ok:
			answer.Refused = append(answer.Refused, RefusedItem{Item: int32(i), Code: CodeJobUnknown})
		case job.State != scheduler.JobDone || at < job.Ended+Retention:
			answer.Refused = append(answer.Refused, RefusedItem{Item: int32(i), Code: CodeJobOpen})
		default:
			tx.forgetJob(job)
		}
	}
	return answer, nil
}

// forgetJob drops a finished job and what its runs left. Its own pot goes with it: that is closed,
// and what nobody has claimed of it is a balance of its own.
func (tx *Tx) forgetJob(job *scheduler.Job) {
	var runs []scheduler.RunID
	tx.jobFiles.ascend(jobRun{job: job.ID}, func(key jobRun, _ none) bool {
		if key.job == job.ID {
			runs = append(runs, key.run)
		}
		return key.job == job.ID
	})
	for _, run := range runs {
		tx.files.del(run)
	}
	if tx.bills.has(job.ID) {
		tx.bills.del(job.ID)
	}
	if job.OwnPot {
		tx.forgetPot(job.Pot)
	}
	tx.jobs.del(job.ID)
	tx.emit(Event{Kind: EventForgotten, Job: job.ID})
}
