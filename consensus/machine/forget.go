package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Forget drops finished jobs and closed shared pots from memory, after their retention and when
// their money is settled; the book keeps their history.
type Forget struct {
	Jobs []scheduler.JobID `cbor:"1,keyasint,omitempty"`
	Pots []funding.PotID   `cbor:"2,keyasint,omitempty"`
}

// ForgetAnswer lists the jobs and the pots that had to stay.
type ForgetAnswer struct {
	Refused []RefusedItem `cbor:"1,keyasint,omitempty"`
	Pots    []RefusedItem `cbor:"2,keyasint,omitempty"`
}

// Kind is part of [Command].
func (Forget) Kind() Kind { return KindForget }

// Retention is how long a finished job's private side is kept: command, logs, outputs, deposits.
const Retention funding.Millis = 7 * 86_400_000

func (c Forget) apply(tx *Tx, at funding.Millis) (any, error) {
	if len(c.Jobs)+len(c.Pots) > ExpireMax {
		return nil, refuse(CodeLimit, "at most %d jobs and pots are forgotten at once", ExpireMax)
	}
	var answer ForgetAnswer
	var shapes []scheduler.ShapeID
	gone := make(map[scheduler.ShapeID]int64) // looked up, never iterated
	for i, id := range c.Jobs {
		job, ok := tx.jobs.get(id)
		switch {
		case !ok:
			answer.Refused = append(answer.Refused, RefusedItem{Item: int32(i), Code: CodeJobUnknown})
		case job.State != scheduler.JobDone || at < job.Ended+Retention:
			answer.Refused = append(answer.Refused, RefusedItem{Item: int32(i), Code: CodeJobOpen})
		default:
			tx.forgetJob(job)
			shapes = append(shapes, job.Shape)
			gone[job.Shape]++
		}
	}
	for _, shape := range shapes {
		if jobs, _ := tx.shapeJobs.get(shape); jobs == gone[shape] && tx.shapes.has(shape) {
			tx.shapes.del(shape) // no job is of it any more
		}
	}
	for i, id := range c.Pots {
		if code := tx.forgetShared(id, at); code != OK {
			answer.Pots = append(answer.Pots, RefusedItem{Item: int32(i), Code: code})
		}
	}
	return answer, nil
}

// forgetShared drops a shared pot, unless something in memory still refers to it: a job, or money
// that somebody can claim. Requests that it paid for are long forgotten by then.
func (tx *Tx) forgetShared(id funding.PotID, at funding.Millis) Code {
	pot, ok := tx.pots.get(id)
	switch {
	case !ok:
		return CodePotUnknown
	case pot.Own != 0 || pot.State != funding.PotClosed || at < pot.Ended+Retention || tx.claimable(id):
		return CodeStale
	}
	named := false
	tx.potJobs.ascend(potJob{pot: id}, func(key potJob, _ none) bool {
		named = key.pot == id && tx.jobs.has(key.job)
		return key.pot == id && !named
	})
	if named {
		return CodeStale
	}
	tx.forgetPot(id)
	tx.emit(Event{Kind: EventForgotten, Pot: id})
	return OK
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
