package machine

import (
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Suspended is an executor's word that a paused run lies on its disk. From then on it is charged for its keep alone, and its
// place is given back. Said once more with what the servers now have of it, it may go on elsewhere.
type Suspended struct {
	At      funding.Millis    `cbor:"1,keyasint"`
	Stopped []Span            `cbor:"2,keyasint,omitempty"` // as in [End]
	Stored  *scheduler.Stored `cbor:"3,keyasint,omitempty"`
}

// News says whether the word changes anything. A run that has been told to go on in the meantime goes on where it lies.
func (s Suspended) News(run *scheduler.Run) bool {
	return run.State == scheduler.RunPaused || s.Stored != nil && run.State == scheduler.RunSuspended && run.Parked.Stored == nil
}

// takes is what a run takes of its node.
func takes(run *scheduler.Run, shape *scheduler.Shape) scheduler.Resources {
	if run.Parked != nil {
		return shape.Need.Keeps()
	}
	return shape.Need
}

// suspendRun ends a stretch of a run: what it owes is settled, it leaves its stream and gives its place back.
func (tx *Tx) suspendRun(old *scheduler.Run, s Suspended) error {
	shape := tx.shapes.must(old.Shape)
	if !s.News(old) || shape.GPU.Asks(shape.Need) {
		return nil // a GPU's state is not on the disk
	}
	if old.Parked != nil {
		tx.storeRun(old, *s.Stored)
		return nil
	}
	j, err := tx.openJob(old.Job)
	if err != nil {
		return err
	}
	run, grace := *old, j.stream().Grace
	s.At = max(s.At, run.Begun(), run.Heard)
	m, err := j.meter(&run, s.At, s.Stopped, false)
	if err != nil {
		return fmt.Errorf("suspend run %d: %w", run.ID, err)
	}
	posted, err := j.leaveStream(&run, m.charge)
	if err != nil {
		return fmt.Errorf("suspend run %d: %w", run.ID, err)
	}
	run.Before = scheduler.Stretches{Billed: run.Before.Billed + m.billed, Charged: run.Before.Charged + run.Owed + posted}
	run.State, run.Owed, run.Settled, run.Heard, run.Frozen = scheduler.RunSuspended, 0, s.At, s.At, 0
	run.Parked = &scheduler.Parked{Since: s.At, Rate: min(j.pool.Price, run.Bid), Until: grace, Grace: grace}
	if run.Parked.Weight, err = j.job.Weighed.Keep(shape.Need); err != nil {
		return fmt.Errorf("suspend run %d: %w", run.ID, err)
	}
	if run.Until != 0 {
		run.Parked.Left, run.Until = max(1, run.Until-s.At), 0
	}
	j.job.Billed += m.billed
	j.moveOn(&run, shape.Need, shape.Need.Keeps())
	if err := j.reserve(&run); err != nil {
		return fmt.Errorf("keep run %d: %w", run.ID, err)
	}
	suspended := j.about(EventSuspended)
	suspended.Run, suspended.Task, suspended.Node, suspended.Amount, suspended.Until = run.ID, run.Task, run.Node(), posted, run.Parked.Until
	j.emit(suspended)
	j.save()
	if s.Stored != nil {
		tx.storeRun(tx.runs.must(run.ID), *s.Stored)
	}
	return j.potGrew(j.pot.ID)
}

// moveOn changes what a run takes of its node.
func (tx *Tx) moveOn(run *scheduler.Run, from, to scheduler.Resources) {
	node := *tx.nodes.must(run.Node())
	node.Used = node.Used.Plus(from, -1).Plus(to, 1)
	tx.nodes.put(node.ID, &node)
}

// settleParked posts what a suspended run's keep has come to. Settled often or once, the total is the same; nothing is owed
// beyond the time that is paid.
func (j *jobTx) settleParked(run *scheduler.Run, to funding.Millis) error {
	p := *run.Parked
	total, err := p.Cost(to)
	if err != nil {
		return err
	}
	due := charge{kept: max(0, total-p.Owed)}
	posted, err := j.settle(run, due, j.within(run.Hold))
	if err != nil {
		return err
	}
	p.Owed += due.kept
	run.Parked, run.Hold, run.Before.Charged = &p, run.Hold-posted, run.Before.Charged+posted
	if limit, ok := j.caps.get(j.job.ID); ok {
		next := *limit
		next.Held -= posted
		j.caps.put(j.job.ID, &next)
	}
	return nil
}

// park settles a suspended run's keep and reserves what comes next.
func (j *jobTx) park(run *scheduler.Run) error {
	err := j.settleParked(run, j.at)
	if err == nil {
		err = j.reserve(run)
	}
	if err != nil {
		return fmt.Errorf("keep run %d: %w", run.ID, err)
	}
	return nil
}

// reserve holds what a suspended run needs, in place of what it held.
func (j *jobTx) reserve(run *scheduler.Run) error {
	pot, err := j.pot.Release(run.Hold)
	if err != nil {
		return err
	}
	j.pot, run.Hold = pot, 0
	room, err := j.room()
	if err != nil {
		return err
	}
	if run.Hold, err = j.reserveKeep(run, room); err != nil {
		return err
	}
	if j.pot, err = j.pot.Hold(run.Hold); err != nil {
		return err
	}
	j.runs.put(run.ID, run)
	return nil
}

// reserveKeep says how much of what is there a suspended run reserves, and until when that keeps it: a tranche of its keep and
// what it takes to go on, where there is that; else its keep to the end of the grace, or for as long as the money lasts.
func (j *jobTx) reserveKeep(run *scheduler.Run, room funding.Amount) (funding.Amount, error) {
	p := *run.Parked
	run.Parked = &p
	full, least, err := slotCost(j.pool, &j.job)
	if err != nil {
		return 0, err
	}
	waits := p
	waits.Ready, waits.Until, waits.Grace = true, j.at+max(j.pool.Tranche, scheduler.TimeMin), 0
	ahead, err := waits.Cost(waits.Until)
	if err != nil {
		return 0, err
	}
	if ahead -= p.Owed; room >= ahead+least {
		run.Parked = &waits
		return min(room, ahead+full), nil
	}
	if p.Ready { // it waited for room until its money was gone
		p.Ready, p.Grace = false, j.at+j.pool.PauseGrace
	}
	p.Until = max(p.Grace, p.Since)
	need, err := p.Cost(p.Until)
	if err != nil {
		return 0, err
	}
	if need -= p.Owed; need <= room {
		return need, nil
	}
	lasts, err := funding.TimeFor(room+p.Owed, p.Weight, p.Rate)
	if err != nil {
		return 0, err
	}
	p.Until = min(p.Until, p.Since+lasts)
	return room, nil
}

// readyAll lets a pot's suspended runs have money that has come, the oldest first.
func (tx *Tx) readyAll(pot funding.PotID) error {
	var ids []scheduler.RunID
	tx.parked.ascend(potRun{pot: pot}, func(key potRun, _ none) bool {
		if key.pot == pot {
			ids = append(ids, key.run)
		}
		return key.pot == pot && len(ids) < feedMax
	})
	for _, id := range ids {
		old, ok := tx.runs.get(id)
		if !ok || old.State != scheduler.RunSuspended || old.Parked.Ready {
			continue // ended, or went on, by this very entry
		}
		run := *old
		j, err := tx.openJob(run.Job)
		if err != nil {
			return err
		}
		if err := j.park(&run); err != nil {
			return err
		}
		j.save()
	}
	return nil
}

// keepDue pays on for a suspended run that waits for room. One whose money is gone has the pause grace again.
func (tx *Tx) keepDue(id scheduler.RunID) (bool, error) {
	old, ok := tx.runs.get(id)
	if !ok || old.State != scheduler.RunSuspended || !old.Parked.Ready || tx.at < old.Parked.Until {
		return false, nil
	}
	j, err := tx.openJob(old.Job)
	if err != nil {
		return false, err
	}
	run := *old
	if err := j.park(&run); err != nil {
		return false, err
	}
	j.save()
	return true, nil
}

// parkedEnd is when a suspended run that has no money to go on is dropped, and why.
func parkedEnd(p *scheduler.Parked) (funding.Millis, scheduler.Reason) {
	if p.Until < p.Grace {
		return p.Until, scheduler.ReasonMoneyEnd
	}
	return p.Until, scheduler.ReasonPauseGrace
}

// stopParked closes the job of a suspended run whose grace or whose money is about to end.
func (tx *Tx) stopParked(run *scheduler.Run, s StopRun) (bool, error) {
	p := run.Parked
	kill, reason := parkedEnd(p)
	if p.Ready || reason != s.Reason || tx.at < kill-moneyDelay(tx.pools.must(run.Pool), p.Since, kill) {
		return false, nil
	}
	j, err := tx.openJob(run.Job)
	if err != nil {
		return false, err
	}
	return true, j.closeJob(stop{reason: reason, at: tx.at, kill: max(kill, tx.at)})
}

// chargeParked settles a run that ends while it is suspended, and gives back what was held for it and not used.
func (j *jobTx) chargeParked(run *scheduler.Run, o outcome) error {
	if !o.again {
		if err := j.settleParked(run, max(o.At, run.Parked.Since)); err != nil {
			return err
		}
		j.job.CPUMillis += o.CPUMillis
		j.job.PeakBytes = max(j.job.PeakBytes, o.PeakBytes)
	}
	pot, err := j.pot.Release(run.Hold)
	if err != nil {
		return err
	}
	j.pot = pot
	return nil
}
