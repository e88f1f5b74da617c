package machine

import (
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// feedMax bounds how many hungry jobs of a pot one entry looks at.
const feedMax = 64

// slotsWanted is how many more tasks could run at once, or wait covered, if there were money.
func slotsWanted(j *scheduler.Job) int32 {
	if j.State == scheduler.JobDone {
		return 0
	}
	want := j.Waiting() + j.Open
	if j.AtOnce > 0 {
		want = min(want, max(j.AtOnce, j.Open))
	}
	return max(0, want-j.Slots)
}

// slotCost is what one slot of a job reserves: the most that the task can cost, or, in a stream, a
// tranche and the pause reserve at today's price. With least money a stream's slot may start too.
func slotCost(pool *scheduler.Pool, job *scheduler.Job) (full, least funding.Amount, err error) {
	if job.Mode == funding.Safe {
		full, err = job.Bid.Cost(job.Weight, job.TimeLimit)
		return full, full, err
	}
	price := min(job.Bid, max(pool.Price, pool.Floor))
	if least, err = price.Cost(job.Weight, scheduler.TimeMin+pool.PauseGrace); err != nil {
		return 0, 0, err
	}
	full, err = price.Cost(job.Weight, max(pool.Tranche, scheduler.TimeMin)+pool.PauseGrace)
	return full, least, err
}

// cover takes as many slots as there are tasks for and money for.
func (j *jobTx) cover() error {
	want := slotsWanted(&j.job)
	if want == 0 {
		return nil
	}
	full, least, err := slotCost(j.pool, &j.job)
	if err != nil {
		return fmt.Errorf("hold for job %d: %w", j.job.ID, err)
	}
	room, err := j.room()
	if err != nil {
		return err
	}
	n, take := int32(min(int64(want), room.Fit(full))), funding.Amount(0)
	switch {
	case n > 0:
		if take, err = full.Times(int64(n)); err != nil {
			return fmt.Errorf("hold for job %d: %w", j.job.ID, err)
		}
	case j.job.Slots == 0 && room >= least:
		n, take = 1, room // a stream that starts with less than a tranche
	default:
		return nil
	}
	pot, err := j.pot.Hold(take)
	if err != nil {
		return fmt.Errorf("hold for job %d: %w", j.job.ID, err)
	}
	j.pot = pot
	j.job.Slots += n
	j.job.Hold += take
	return nil
}

// room is what the job may still reserve: what is free in its pot, within the most that it may
// ever cost, whoever pays.
func (j *jobTx) room() (funding.Amount, error) {
	room := j.pot.Free()
	if j.job.MaxTotal == 0 {
		return room, nil
	}
	taken := j.job.Charged
	if j.job.Mode == funding.Safe {
		taken += j.job.Hold
	} else if hold, ok := j.caps.get(j.job.ID); ok {
		accrued, err := hold.Accrued(j.indexAt(j.at, j.pool.ID))
		if err != nil {
			return 0, err
		}
		taken += accrued
	}
	return max(0, min(room, j.job.MaxTotal-taken)), nil
}

// indexAt is a pool's index at a time.
func (tx *Tx) indexAt(at funding.Millis, pool scheduler.PoolID) funding.Index {
	series, _ := tx.series.get(pool)
	return series.At(at)
}

// uncover gives back what waiting tasks have reserved: all of it, since fewer of them are left than
// before or none.
func (j *jobTx) uncover() error {
	held := j.job.Hold
	if j.job.Mode == funding.Safe {
		j.eachOpenRun(func(run *scheduler.Run) { held -= run.Hold })
	}
	pot, err := j.pot.Release(held)
	if err != nil {
		return fmt.Errorf("release what job %d holds: %w", j.job.ID, err)
	}
	j.pot = pot
	j.job.Hold -= held
	j.job.Slots = j.job.Open
	return nil
}

// eachOpenRun visits the job's runs that have not ended, as this entry has left them.
func (tx *Tx) eachOpenRunOf(job scheduler.JobID, visit func(*scheduler.Run)) {
	tx.jobRuns.ascend(jobRun{job: job}, func(key jobRun, _ none) bool {
		if key.job != job {
			return false
		}
		if run, ok := tx.runs.get(key.run); ok {
			visit(run)
		}
		return true
	})
}

func (j *jobTx) eachOpenRun(visit func(*scheduler.Run)) { j.eachOpenRunOf(j.job.ID, visit) }

// potGrew lets a pot's work have money that has come or come free: what runs goes first, then
// waiting jobs in the order of their submission.
func (tx *Tx) potGrew(id funding.PotID) error {
	if tx.pots.must(id).Free() <= 0 {
		return nil
	}
	if err := tx.renewAll(id); err != nil {
		return err
	}
	if err := tx.readyAll(id); err != nil {
		return err
	}
	var hungry []scheduler.JobID
	tx.hungry.ascend(potJob{pot: id}, func(key potJob, _ none) bool {
		if key.pot == id {
			hungry = append(hungry, key.job)
		}
		return key.pot == id && len(hungry) < feedMax
	})
	for _, job := range hungry {
		if tx.pots.must(id).Free() <= 0 {
			return nil
		}
		j, err := tx.openJob(job)
		if err != nil || j.job.State == scheduler.JobDone {
			continue // ended by this very entry
		}
		if err := j.cover(); err != nil {
			return err
		}
		j.save()
	}
	return nil
}
