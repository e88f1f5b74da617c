package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// lose takes a node's lease as lapsed for good: its places are given away.
func (tx *Tx) lose(id scheduler.NodeID) (bool, error) {
	node, ok := tx.nodes.get(id)
	if !ok || node.State == scheduler.NodeLost {
		return false, nil
	}
	if err := tx.loseRuns(id, tx.at); err != nil {
		return false, err
	}
	lost := *tx.nodes.must(id)
	lost.State, lost.Was = scheduler.NodeLost, lost.State
	tx.nodes.put(id, &lost)
	tx.emit(Event{Kind: EventNodeLost, Node: id, Pool: lost.Pool, Text: lost.Name})
	return true, nil
}

// renewDue fills up a stream whose tranche nears its end, and resumes one that was topped up.
func (tx *Tx) renewDue(id StreamID) (bool, error) {
	r, err := tx.renew(id)
	return r.changed, err
}

// noticeLow tells the owner that the money is ending, once, when the pot has nothing more to give.
func (tx *Tx) noticeLow(id StreamID) (bool, error) {
	hold, ok := tx.streams.get(id)
	if !ok || hold.Noticed || hold.Paused != 0 || hold.Closing {
		return false, nil
	}
	r, err := tx.renew(id)
	if err != nil || !r.low {
		return r.changed, err
	}
	low := *tx.streams.must(id)
	low.Noticed = true
	tx.putStream(id, low)
	series, _ := tx.series.get(id.Pool)
	end, _ := low.Ends()
	until, _ := series.When(end)
	told := make(map[scheduler.JobID]bool) // looked up, never iterated
	for _, run := range tx.runsOfStream(id) {
		if !told[run.Job] {
			told[run.Job] = true
			tx.emit(Event{Kind: EventLowFunds, Job: run.Job, Pot: id.Pot, Pool: id.Pool, Until: until})
		}
	}
	return true, nil
}

// pauseDue pauses a stream whose tranche is used up and whose pot is empty.
func (tx *Tx) pauseDue(id StreamID) (bool, error) {
	r, err := tx.renew(id)
	if err != nil {
		return false, err
	}
	hold, ok := tx.streams.get(id)
	if !ok || hold.Paused != 0 || hold.Closing {
		return r.changed, nil
	}
	if end, ok := hold.Ends(); !ok || tx.indexAt(tx.at, id.Pool).Cmp(end) < 0 {
		return r.changed, nil
	}
	tx.pause(id)
	return true, nil
}

// stopDue gives a run notice, if the reason holds. What an order may say is bounded by it: a task
// never runs on beyond what has been paid for or asked for.
func (tx *Tx) stopDue(s StopRun) (bool, error) {
	run, ok := tx.runs.get(s.Run)
	if !ok {
		return false, nil
	}
	job := tx.jobs.must(run.Job)
	switch {
	case run.State == scheduler.RunStopping && len(run.Nodes) == 0:
		return tx.endAway(run)
	case run.State == scheduler.RunSuspended && (s.Reason == scheduler.ReasonPauseGrace || s.Reason == scheduler.ReasonMoneyEnd):
		return tx.stopParked(run, s)
	case s.Reason == scheduler.ReasonPauseGrace || s.Reason == scheduler.ReasonMoneyEnd:
		return tx.stopStream(run, job, s)
	case s.Reason == scheduler.ReasonMaxTotal:
		return tx.stopAtMost(job)
	case run.State == scheduler.RunStopping:
		return false, nil
	}
	order := stop{reason: s.Reason}
	var holds bool
	switch delay := killDelay(tx.pools.must(run.Pool), job.TimeLimit); s.Reason {
	case scheduler.ReasonTimeLimit:
		holds = run.Until != 0 && tx.at >= run.Until-delay
		order.kill = run.Until
	case scheduler.ReasonDrained:
		node, ok := tx.nodes.get(run.Node())
		if !ok {
			return false, nil // it has left it
		}
		holds = node.State == scheduler.NodeDraining && node.Deadline != 0 && tx.at >= node.Deadline-delay
		order.kill = node.Deadline
	}
	if !holds {
		return false, nil
	}
	if s.Reason == scheduler.ReasonDrained && stored(run) {
		tx.letGo(run, outcome{End: End{Reason: s.Reason}})
		return true, nil
	}
	order.kill = max(order.kill, tx.at)
	order.at = min(max(s.StopAt, tx.at), order.kill)
	tx.stopRun(run.ID, order)
	return true, nil
}

// stopStream closes the jobs of a paused stream whose grace or reserve is over. Named by one run,
// it is done for all: the money was theirs together.
func (tx *Tx) stopStream(run *scheduler.Run, job *scheduler.Job, s StopRun) (bool, error) {
	id := StreamID{Pot: job.Pot, Pool: run.Pool}
	hold, ok := tx.streams.get(id)
	if !ok || hold.Paused == 0 || hold.Closing {
		return false, nil
	}
	series, _ := tx.series.get(id.Pool)
	kill, reason := graceEnd(hold, series)
	if tx.at < kill-moneyDelay(tx.pools.must(id.Pool), hold.Paused, kill) || reason != s.Reason {
		return false, nil
	}
	closing := *hold
	closing.Closing = true
	tx.putStream(id, closing)
	runs := tx.runsOfStream(id)
	jobs := make(map[scheduler.JobID]bool) // looked up, never iterated
	for _, other := range runs {
		if jobs[other.Job] {
			continue
		}
		jobs[other.Job] = true
		j, err := tx.openJob(other.Job)
		if err != nil {
			return false, err
		}
		if err := j.closeJob(stop{reason: reason, at: tx.at, kill: max(kill, tx.at)}); err != nil {
			return false, err
		}
	}
	return true, nil
}

// graceEnd is when a paused stream's place is lost: its grace is over, or its reserve before that.
func graceEnd(hold *funding.StreamHold, series funding.Series) (funding.Millis, scheduler.Reason) {
	if end, ok := hold.Ends(); ok {
		if when, ok := series.When(end); ok && when < hold.Grace {
			return when, scheduler.ReasonMoneyEnd
		}
	}
	return hold.Grace, scheduler.ReasonPauseGrace
}

// stopAtMost closes a stream job that is about to have cost all that it may ever cost.
func (tx *Tx) stopAtMost(job *scheduler.Job) (bool, error) {
	hold, ok := tx.caps.get(job.ID)
	if !ok || hold.Closing {
		return false, nil
	}
	pool := tx.pools.must(job.Pool)
	series, _ := tx.series.get(job.Pool)
	end, ok := hold.Ends()
	if !ok {
		return false, nil
	}
	kill, ok := series.When(end)
	runs := func(visit func(*scheduler.Run)) { tx.eachOpenRunOf(job.ID, visit) }
	if !ok || tx.at < kill-capDelay(pool, job, runs, kill) {
		return false, nil
	}
	closing := *hold
	closing.Closing = true
	tx.caps.put(job.ID, &closing)
	j, err := tx.openJob(job.ID)
	if err != nil {
		return false, err
	}
	return true, j.closeJob(stop{reason: scheduler.ReasonMaxTotal, at: tx.at, kill: max(kill, tx.at)})
}

// closeDue closes a pot that waits for nothing.
func (tx *Tx) closeDue(id funding.PotID) (bool, error) {
	pot, ok := tx.pots.get(id)
	if !ok || pot.State != funding.PotClosing || pot.Jobs != 0 || pot.Held != 0 {
		return false, nil
	}
	_, _, err := tx.closePot(pot, Event{})
	return err == nil, err
}

// prune forgets a pool's prices from before its oldest open run, or what of it is not settled.
func (tx *Tx) prune(id scheduler.PoolID) (bool, error) {
	old, ok := tx.series.get(id)
	if !ok {
		return false, nil
	}
	series := old.Prune(min(tx.at, oldestOpen(tx.openRuns.rows, id, tx.at)))
	if len(series.Points) == len(old.Points) {
		return false, nil
	}
	tx.series.put(id, series)
	return true, nil
}

// oldestOpen is the time from which a pool's prices are still needed.
func oldestOpen(open rows[runSince, none], pool scheduler.PoolID, at funding.Millis) funding.Millis {
	open.ascend(runSince{pool: pool}, func(key runSince, _ none) bool {
		if key.pool == pool {
			at = min(at, key.since)
		}
		return false
	})
	return at
}
