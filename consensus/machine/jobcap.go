package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// JobCap sets the owner's limits: what others may add, what the job may ever cost, and how long it may run.
type JobCap struct {
	Job       scheduler.JobID `cbor:"1,keyasint"`
	Control   funding.KeyHash `cbor:"2,keyasint"`
	CapOthers *funding.Amount `cbor:"3,keyasint,omitempty"` // nil: as it was
	MaxTotal  *funding.Amount `cbor:"4,keyasint,omitempty"` // nil: as it was; zero: none
	TimeLimit *funding.Millis `cbor:"5,keyasint,omitempty"` // nil: as it was; never less
}

// JobCapAnswer tells the limits after it.
type JobCapAnswer struct {
	Job       scheduler.JobID `cbor:"1,keyasint"`
	CapOthers *funding.Amount `cbor:"2,keyasint,omitempty"`
	MaxTotal  funding.Amount  `cbor:"3,keyasint,omitempty"`
	TimeLimit funding.Millis  `cbor:"4,keyasint,omitempty"`
}

// Kind is part of [Command].
func (JobCap) Kind() Kind { return KindJobCap }

func (c JobCap) apply(tx *Tx, at funding.Millis) (any, error) {
	j, err := tx.openOwn(c.Job, c.Control, TokenHash{}, at)
	if err != nil {
		return nil, err
	}
	if c.CapOthers != nil {
		if *c.CapOthers < 0 || !j.job.OwnPot {
			return nil, refuse(CodeInvalid, "what others may add is limited for a job's own pot, to zero or more")
		}
		most := *c.CapOthers
		j.pot.Cap = &most
	}
	if c.MaxTotal != nil {
		if err := j.limitTotal(*c.MaxTotal); err != nil {
			return nil, err
		}
	}
	if c.TimeLimit != nil {
		if err := j.extend(*c.TimeLimit, at); err != nil {
			return nil, err
		}
	}
	if err := j.goOn(); err != nil {
		return nil, err
	}
	pot := tx.pots.must(j.pot.ID)
	return JobCapAnswer{Job: c.Job, CapOthers: pot.Cap, MaxTotal: j.job.MaxTotal, TimeLimit: j.job.TimeLimit}, nil
}

// limitTotal sets the most that the job may ever cost. What runs keeps what is held for it, so the
// limit cannot fall below that.
func (j *jobTx) limitTotal(most funding.Amount) error {
	if err := j.uncover(); err != nil {
		return err
	}
	var parked []scheduler.Run
	j.eachOpenRun(func(run *scheduler.Run) {
		if run.Parked != nil {
			parked = append(parked, *run)
		}
	})
	for i := range parked {
		if err := j.settleParked(&parked[i], j.at); err != nil {
			return err
		}
	}
	bound := j.job.Charged
	if j.job.Mode == funding.Safe {
		bound += j.job.Hold
	}
	if most < 0 || most != 0 && most < bound {
		return refuse(CodeLimit, "job %d has cost and reserved %d for what runs; the most it may cost cannot be %d", j.job.ID, bound, most)
	}
	j.job.MaxTotal = most
	if j.job.Mode == funding.Safe {
		return nil
	}
	if err := j.capRunning(most); err != nil {
		return err
	}
	for i := range parked { // how long they are kept follows from it
		if parked[i].State != scheduler.RunSuspended {
			j.runs.put(parked[i].ID, &parked[i])
		} else if err := j.reserve(&parked[i]); err != nil {
			return err
		}
	}
	return nil
}

// capRunning follows what a stream job's running tasks come to against the most that it may cost.
func (j *jobTx) capRunning(most funding.Amount) error {
	if most == 0 {
		if j.caps.has(j.job.ID) {
			j.caps.del(j.job.ID)
		}
		return nil
	}
	hold := funding.StreamHold{Pot: j.pot.ID, Pool: uint32(j.pool.ID), Held: most - j.job.Charged}
	var failed error
	j.eachOpenRun(func(run *scheduler.Run) {
		if run.Start == 0 || run.Parked != nil || failed != nil {
			return
		}
		if hold, failed = hold.Start(run.Weight, run.From, 0); failed == nil {
			hold, failed = hold.Settle(run.Owed)
		}
	})
	j.caps.put(j.job.ID, &hold)
	return failed
}
