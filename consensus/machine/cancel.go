package machine

import (
	"slices"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Cancel ends a job: waiting tasks at once, running ones by a signal and the kill delay.
type Cancel struct {
	Job     scheduler.JobID      `cbor:"1,keyasint"`
	Control funding.KeyHash      `cbor:"2,keyasint,omitzero"`  // hash of the control key shown
	Token   TokenHash            `cbor:"3,keyasint,omitzero"`  // or an operator's token
	Signal  int32                `cbor:"4,keyasint,omitempty"` // instead of SIGTERM
	Tasks   *scheduler.TaskRange `cbor:"5,keyasint,omitempty"` // only these; nil: all
}

// CancelAnswer tells how the job stands after it.
type CancelAnswer struct {
	Job   scheduler.JobID    `cbor:"1,keyasint"`
	State scheduler.JobState `cbor:"2,keyasint"`
}

// Kind is part of [Command].
func (Cancel) Kind() Kind { return KindCancel }

func (c Cancel) apply(tx *Tx, at funding.Millis) (any, error) {
	j, err := tx.openOwn(c.Job, c.Control, c.Token, at)
	if err != nil {
		return nil, err
	}
	if c.Signal < 0 || c.Signal > 64 {
		return nil, refuse(CodeInvalid, "there is no signal %d", c.Signal)
	}
	order := stop{reason: scheduler.ReasonCancelled, at: at, kill: at + killDelay(j.pool, j.job.TimeLimit), signal: c.Signal}
	if c.Signal == sigkill {
		order.kill = at
	}
	if c.Tasks == nil {
		err = j.closeJob(order)
	} else {
		err = j.cancelTasks(*c.Tasks, order)
	}
	if err != nil {
		return nil, err
	}
	return CancelAnswer{Job: c.Job, State: tx.jobs.must(c.Job).State}, nil
}

// openOwn takes a job out for its owner, or for an operator.
func (tx *Tx) openOwn(id scheduler.JobID, control funding.KeyHash, token TokenHash, at funding.Millis) (*jobTx, error) {
	j, err := tx.openJob(id)
	if err != nil {
		return nil, err
	}
	if token != (TokenHash{}) {
		if err := tx.checkToken(token, at, RoleOperator); err != nil {
			return nil, err
		}
	} else if control == (funding.KeyHash{}) || control != j.job.Control {
		return nil, refuse(CodeKeyWrong, "this is not the control key of job %d", id)
	}
	if j.job.State == scheduler.JobDone {
		return nil, refuse(CodeJobEnded, "job %d has ended", id)
	}
	return j, nil
}

// listedMax bounds the waiting tasks that a job can name one by one.
const listedMax = 4096

// cancelTasks ends some tasks of an array.
func (j *jobTx) cancelTasks(r scheduler.TaskRange, order stop) error {
	if r.Last < r.First {
		return refuse(CodeInvalid, "tasks %d to %d are none", r.First, r.Last)
	}
	in := func(task int32) bool { return task >= r.First && task <= r.Last }
	keep := slices.DeleteFunc(slices.Clone(j.job.Requeued), in)
	if j.job.Next <= r.Last && j.job.Tasks.Last >= r.First {
		if left := int64(j.job.Tasks.Last) - int64(j.job.Next) + 1; left > listedMax {
			return refuse(CodeLimit, "%d tasks wait; of so many only all can be cancelled, or those that run", left)
		}
		for task := j.job.Next; task <= j.job.Tasks.Last; task++ {
			if !in(task) {
				keep = append(keep, task)
			}
		}
		slices.Sort(keep)
		j.job.Next = j.job.Tasks.Last + 1
	}
	j.job.Requeued = keep
	var open []scheduler.RunID
	j.eachOpenRun(func(run *scheduler.Run) {
		if in(run.Task) {
			open = append(open, run.ID)
		}
	})
	for _, id := range open {
		j.stopRun(id, order)
	}
	if j.job.Waiting() == 0 && j.job.Open == 0 {
		j.job.Reason = order.reason
	}
	// What the tasks that went had reserved is taken back, then what is left reserves anew.
	if err := j.uncover(); err != nil {
		return err
	}
	return j.goOn()
}
