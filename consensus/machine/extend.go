package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// extend gives the job a longer time limit, and what runs of it a later end. A stream pays as it goes, so no money is held for it; a
// safe job has paid for all of its limit before it was queued. The same limit again changes nothing, so the request may be repeated.
func (j *jobTx) extend(limit, at funding.Millis) error {
	more := limit - j.job.TimeLimit
	switch {
	case more == 0:
		return nil
	case j.job.Mode != funding.Stream:
		return refuse(CodeInvalid, "job %d has paid for its whole time limit beforehand (mode safe); only one of mode stream can be given more time", j.job.ID)
	case j.job.TimeLimit == 0:
		return refuse(CodeInvalid, "job %d has no time limit: it runs as long as its money lasts", j.job.ID)
	case more < 0 || limit > j.pool.TimeMax:
		return refuse(CodeLimit, "the time limit of job %d is %d ms and can grow up to %d, not become %d", j.job.ID, j.job.TimeLimit, j.pool.TimeMax, limit)
	}
	late, delay := false, killDelay(j.pool, j.job.TimeLimit)
	var moved []scheduler.Run
	j.eachOpenRun(func(run *scheduler.Run) {
		next := *run
		switch {
		case run.Parked != nil && run.Parked.Left != 0: // it goes on with so much more
			parked := *run.Parked
			parked.Left += more
			next.Parked = &parked
			moved = append(moved, next)
			return
		case run.Stored != nil && run.Stored.Left != 0:
			stored := *run.Stored
			stored.Left += more
			next.Stored = &stored
			moved = append(moved, next)
			return
		case run.Until == 0:
			return // its limit is counted when it starts
		}
		late = late || at >= run.Until-delay || run.State == scheduler.RunStopping && run.Stop == scheduler.ReasonTimeLimit
		next.Until += more
		moved = append(moved, next)
	})
	if late {
		return refuse(CodeLimit, "job %d is being stopped already: its time limit has come", j.job.ID)
	}
	for i := range moved {
		j.runs.put(moved[i].ID, &moved[i])
	}
	j.job.TimeLimit = limit
	extended := j.about(EventExtended)
	for i := range moved {
		extended.Until = max(extended.Until, moved[i].Until)
	}
	j.emit(extended)
	return nil
}
