package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// sigkill cannot be caught: with it there is nothing to wait for.
const sigkill = 9

// killDelay is the time between asking a task to stop and making it: the pool's, at most a tenth
// of the time that the task has at all.
func killDelay(pool *scheduler.Pool, limit funding.Millis) funding.Millis {
	if limit > 0 {
		return min(pool.KillDelay, limit/10)
	}
	return pool.KillDelay
}

// moneyDelay is the kill delay before money ends that began to be spent at a time: the pool's, at
// most a tenth of the time that is paid for. Money for seconds would else be over as it begins.
func moneyDelay(pool *scheduler.Pool, began, ends funding.Millis) funding.Millis {
	return max(0, min(pool.KillDelay, (ends-began)/10))
}

// capDelay is the kill delay before a job has cost all that it may: counted from the start of the
// oldest of its runs.
func capDelay(pool *scheduler.Pool, job *scheduler.Job, runs func(visit func(*scheduler.Run)), ends funding.Millis) funding.Millis {
	began := ends
	runs(func(run *scheduler.Run) {
		if run.Start != 0 {
			began = min(began, run.Start)
		}
	})
	return min(killDelay(pool, job.TimeLimit), moneyDelay(pool, began, ends))
}

// stop is an order to end a run.
type stop struct {
	reason scheduler.Reason
	at     funding.Millis // asked
	kill   funding.Millis // made
	signal int32
}

// stopRun gives a run notice. One that is stopping already is only made to stop sooner.
func (tx *Tx) stopRun(id scheduler.RunID, s stop) {
	old := tx.runs.must(id)
	if old.State == scheduler.RunStopping && old.KillAt <= s.kill {
		return
	}
	run := *old
	if len(run.Nodes) == 0 && s.reason == scheduler.ReasonCancelled {
		s.kill = s.at // nothing of it runs that could use the time
	}
	if run.State != scheduler.RunStopping {
		run.State, run.Stop, run.StopAt = scheduler.RunStopping, s.reason, s.at
	}
	run.KillAt, run.Signal = max(s.kill, run.StopAt), s.signal
	tx.runs.put(id, &run)
	notice := Event{Kind: EventNotice, Job: run.Job, Task: run.Task, Run: id, Node: run.Node(), Pool: run.Pool, Reason: s.reason, Until: run.KillAt}
	tx.emit(notice)
}

// closeJob ends a job at the next occasion: waiting tasks at once, running ones by an order.
func (j *jobTx) closeJob(s stop) error {
	if err := j.dropWaiting(s.reason); err != nil {
		return err
	}
	var open []scheduler.RunID
	j.eachOpenRun(func(run *scheduler.Run) { open = append(open, run.ID) })
	for _, id := range open {
		j.stopRun(id, s)
	}
	if len(open) == 0 {
		return j.finish(j.job.Reason)
	}
	j.save()
	return j.potGrew(j.pot.ID)
}
