package machine

import (
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

func (j *jobTx) streamID() StreamID { return StreamID{Pot: j.pot.ID, Pool: j.pool.ID} }

// stream is what the job's pot holds for its runs in the pool.
func (j *jobTx) stream() funding.StreamHold {
	if hold, ok := j.streams.get(j.streamID()); ok {
		return *hold
	}
	return funding.StreamHold{Pot: j.pot.ID, Pool: uint32(j.pool.ID)}
}

func (tx *Tx) putStream(id StreamID, hold funding.StreamHold) { tx.streams.put(id, &hold) }

// startInStream lets a run that has started accrue, and hands what was held for it to the stream.
func (j *jobTx) startInStream(run *scheduler.Run) error {
	hold, err := j.stream().Start(run.Weight, run.From, run.Hold)
	if err != nil {
		return err
	}
	price := j.pool.Price
	reserve, err := price.Cost(run.Weight, j.pool.PauseGrace)
	if err != nil {
		return fmt.Errorf("reserve of run %d: %w", run.ID, err)
	}
	second, err := price.Cost(run.Weight, scheduler.TimeMin)
	if err != nil {
		return fmt.Errorf("reserve of run %d: %w", run.ID, err)
	}
	hold.Reserve += min(reserve, max(0, run.Hold-second))
	run.Hold = 0
	if hold.Paused != 0 && run.State == scheduler.RunRunning {
		// Its siblings are paused: it is too, until what it brings is found to be enough for all. If they were about to
		// be stopped, the stream has a run again that nobody has stopped.
		run.State, hold.Closing = scheduler.RunPaused, false
	}
	j.putStream(j.streamID(), hold)
	if limit, ok := j.caps.get(j.job.ID); ok {
		next, err := limit.Start(run.Weight, run.From, 0)
		if err != nil {
			return err
		}
		j.caps.put(j.job.ID, &next)
	}
	return nil
}

// leaveStream takes a run out of the accrual and settles what it owes out of what is held for all.
// What the others need no longer is free again.
func (j *jobTx) leaveStream(run *scheduler.Run, c charge) (posted funding.Amount, err error) {
	hold, err := j.stream().End(run.Weight, run.From, run.Owed)
	if err != nil {
		return 0, err
	}
	if posted, err = j.settle(run, c, j.within(hold.Held)); err != nil {
		return 0, err
	}
	hold.Held -= posted
	if hold, err = j.shrink(hold); err != nil {
		return 0, err
	}
	if hold.Runs == 0 {
		j.streams.del(j.streamID())
	} else {
		j.putStream(j.streamID(), hold)
	}
	if limit, ok := j.caps.get(j.job.ID); ok {
		next, err := limit.End(run.Weight, run.From, run.Owed)
		if err != nil {
			return 0, err
		}
		next.Held -= posted
		j.caps.put(j.job.ID, &next)
	}
	return posted, nil
}

// within bounds what a settlement may post by the most that the job may ever cost. A late stop is
// no reason to charge more.
func (j *jobTx) within(held funding.Amount) funding.Amount {
	if j.job.MaxTotal == 0 {
		return held
	}
	return max(0, min(held, j.job.MaxTotal-j.job.Charged))
}

// shrink gives back what a stream holds beyond a tranche and a reserve at today's price.
func (j *jobTx) shrink(hold funding.StreamHold) (funding.StreamHold, error) {
	surplus := hold.Held
	if hold.Runs > 0 {
		ahead, reserve, err := hold.Want(j.pool.Price, j.pool.Tranche, j.pool.PauseGrace)
		if err != nil {
			return hold, err
		}
		left, err := hold.Left(j.indexAt(j.at, j.pool.ID))
		if err != nil {
			return hold, err
		}
		surplus = max(0, left-ahead-reserve)
		hold.Reserve = min(hold.Reserve, reserve)
	}
	pot, err := j.pot.Release(surplus)
	if err != nil {
		return hold, fmt.Errorf("release of stream: %w", err)
	}
	j.pot = pot
	hold.Held -= surplus
	return hold, nil
}

// settleInStream posts what a run that goes on owes.
func (j *jobTx) settleInStream(run *scheduler.Run, c charge) (posted funding.Amount, err error) {
	hold := j.stream()
	if posted, err = j.settle(run, c, j.within(hold.Held)); err != nil {
		return 0, err
	}
	hold.Held -= posted
	if hold, err = hold.Settle(c.usage); err != nil { // what was overrun is booked, and not owed again
		return 0, err
	}
	j.putStream(j.streamID(), hold)
	if limit, ok := j.caps.get(j.job.ID); ok {
		next, err := limit.Settle(c.usage)
		if err != nil {
			return 0, err
		}
		next.Held -= posted
		j.caps.put(j.job.ID, &next)
	}
	return posted, nil
}

// renewal is what renewing a stream came to.
type renewal struct {
	added   funding.Amount
	changed bool
	resumed bool
	low     bool // the money ends within the pool's time of notice
}

// renew fills a stream up to a tranche and a reserve at today's price, as far as the pot can pay.
// Where it cannot pay for both, new money goes into the tranche: work goes on, and the reserve is
// what it was.
func (tx *Tx) renew(id StreamID) (renewal, error) {
	var r renewal
	old, ok := tx.streams.get(id)
	if !ok || old.Closing {
		return r, nil
	}
	hold, pool := *old, tx.pools.must(id.Pool)
	series, _ := tx.series.get(id.Pool)
	now := series.At(tx.at)
	ahead, reserve, err := hold.Want(pool.Price, pool.Tranche, pool.PauseGrace)
	if err != nil {
		return r, err
	}
	left, err := hold.Left(now)
	if err != nil {
		return r, err
	}
	pot := *tx.pots.must(id.Pot)
	r.added = max(0, min(pot.Free(), ahead+reserve-left))
	if pot, err = pot.Hold(r.added); err != nil {
		return r, fmt.Errorf("renew a stream of pot %d: %w", id.Pot, err)
	}
	hold.Held += r.added
	switch {
	case left+r.added >= ahead+reserve:
		hold.Reserve = reserve
	case hold.Paused != 0:
		hold.Reserve = min(reserve, max(0, left))
	default:
		hold.Reserve = min(hold.Reserve, reserve)
	}
	second, _, err := hold.Want(pool.Price, scheduler.TimeMin, 0)
	if err != nil {
		return r, err
	}
	if r.resumed = hold.Paused != 0 && left+r.added-hold.Reserve >= second; r.resumed {
		hold.Paused, hold.Grace = 0, 0
	}
	if end, ok := hold.Ends(); ok {
		when, ends := series.When(end)
		r.low = ends && when <= tx.at+pool.LowFunds
	}
	hold.Noticed = hold.Noticed && r.low
	r.changed = hold != *old
	tx.pots.put(id.Pot, &pot)
	tx.putStream(id, hold)
	if r.resumed {
		tx.setPaused(id, false)
	}
	return r, nil
}

// renewAll renews the streams of a pot.
func (tx *Tx) renewAll(pot funding.PotID) error {
	var ids []StreamID
	tx.streams.scan(StreamID{Pot: pot}, func(id StreamID, _ *funding.StreamHold) bool {
		if id.Pot == pot {
			ids = append(ids, id)
		}
		return id.Pot == pot
	})
	for _, id := range ids {
		hold := tx.streams.must(id)
		if !hold.Noticed && hold.Paused == 0 {
			continue // it renews when its time comes; what is free may serve others until then
		}
		if _, err := tx.renew(id); err != nil {
			return err
		}
	}
	return nil
}

// runsOfStream lists the started runs of a stream that have not ended.
func (tx *Tx) runsOfStream(id StreamID) []*scheduler.Run {
	var runs []*scheduler.Run
	tx.streamRuns.ascend(streamRun{stream: id}, func(key streamRun, _ none) bool {
		if key.stream != id {
			return false
		}
		if run, ok := tx.runs.get(key.run); ok {
			runs = append(runs, run)
		}
		return true
	})
	return runs
}

// setPaused pauses the runs of a stream and their jobs, or lets them go on.
func (tx *Tx) setPaused(id StreamID, paused bool) {
	from, to, job, kind := scheduler.RunPaused, scheduler.RunRunning, scheduler.JobRunning, EventResumed
	if paused {
		from, to, job, kind = scheduler.RunRunning, scheduler.RunPaused, scheduler.JobPaused, EventPaused
	}
	told := make(map[scheduler.JobID]bool) // looked up, never iterated
	for _, run := range tx.runsOfStream(id) {
		if run.State != from {
			continue
		}
		next := *run
		next.State = to
		tx.runs.put(next.ID, &next)
		if told[next.Job] {
			continue
		}
		told[next.Job] = true
		record := *tx.jobs.must(next.Job)
		record.State = job
		tx.jobs.put(record.ID, &record)
		tx.emit(Event{Kind: kind, Job: record.ID, Pot: id.Pot, Pool: id.Pool})
	}
}

// pause stops a stream's runs for want of money: they keep their places, at the cost of the reserve.
func (tx *Tx) pause(id StreamID) {
	hold, pool := *tx.streams.must(id), tx.pools.must(id.Pool)
	hold.Paused, hold.Grace, hold.Noticed = tx.at, tx.at+pool.PauseGrace, true
	tx.putStream(id, hold)
	tx.setPaused(id, true)
}
