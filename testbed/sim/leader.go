package sim

import (
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// someView is what a leader decides by: mostly the newest view, sometimes one that is too old.
func (w *world) someView() *machine.View {
	if old, ok := one(w, w.stale); ok && w.chance(20) {
		return old
	}
	return w.view
}

// place decides as a leader does.
func (w *world) place(view *machine.View) {
	w.wake(view)
	limit := 0
	if w.chance(30) {
		limit = between(w, 1, 5)
	}
	var entry machine.Place
	for _, d := range scheduler.Place(view.Scheduler(), w.now, limit) {
		if n := len(entry.Decisions); n > 0 {
			last := &entry.Decisions[n-1]
			if last.Job == d.Job && last.Nodes[0] == d.Node && last.First+last.Count == d.Task {
				last.Count++
				continue
			}
		}
		entry.Decisions = append(entry.Decisions, machine.Placement{Job: d.Job, First: d.Task, Count: 1, Nodes: []scheduler.NodeID{d.Node}})
	}
	if len(entry.Decisions) == 0 {
		return
	}
	fresh := view == w.view
	a, ok := answer[machine.PlaceAnswer](w, w.propose(entry))
	if !ok {
		w.fail("leader", "a batch of placements was refused")
		return
	}
	w.checkCards()
	for _, refused := range a.Refused {
		d := entry.Decisions[refused.Item]
		if !fresh {
			continue
		}
		job, _ := view.Job(d.Job)
		pool, _ := view.Pool(job.Pool)
		if job.Effective() >= pool.Price {
			w.fail("leader", "task %d of job %d on node %d was decided on the newest view and refused as %s", d.First, d.Job, d.Nodes[0], refused.Code)
		}
	}
}

// reprice gives pools the price that the rules want.
func (w *world) reprice(view *machine.View) {
	for _, pool := range view.Pools() {
		next, moves := scheduler.NextPrice(pool, scheduler.Price(view.Scheduler(), pool.ID), w.now)
		if !moves {
			continue
		}
		fresh := view == w.view
		if r := w.propose(machine.Price{Pool: pool.ID, Price: next}); fresh && r.Code != machine.OK && w.view.At() == w.now {
			w.fail("leader", "a price of %d for pool %d was decided on the newest view and refused: %s %s", next, pool.ID, r.Code, r.Detail)
		}
	}
}

// pulse carries out what time has brought about, until nothing is due: then nothing runs past its
// money (I9).
func (w *world) pulse() {
	for range 60 {
		w.now = max(w.now, w.view.At())
		entry, due := w.view.Due(w.now)
		if w.dice.IntN(300) == 0 {
			if n, ok := one(w, w.nodes); ok && !n.gone {
				n.lost = true
				entry.Lost, due = append(entry.Lost, n.id), true
			}
		}
		if !due {
			w.calm = true
			if err := w.view.CheckWork(second); err != nil {
				w.violated(err)
			}
			w.checkMoney()
			return
		}
		before := w.view.At()
		paused := len(entry.Pause)
		a, ok := answer[machine.PulseAnswer](w, w.propose(entry))
		if !ok {
			w.fail("leader", "what was due was refused")
			return
		}
		if a.Done == 0 && len(entry.Lost) == 0 && before <= w.now && w.view.At() == w.now {
			w.fail("leader", "due at %d and yet nothing to do: %+v", w.now, entry)
			return
		}
		if w.failure != nil || w.entries >= w.Entries {
			return
		}
		if paused > 0 {
			w.doze()
		}
	}
	w.fail("leader", "sixty pulses and still something is due at %d", w.now)
}

// forget drops jobs and shared pots whose retention is over, and what closed keysets have left.
func (w *world) forget() {
	if due, any := w.view.SweepDue(w.now); any {
		w.mayRefuse(w.propose(due))
	}
	if due, any := w.view.ForgetDue(w.now, 50); any {
		a, _ := answer[machine.ForgetAnswer](w, w.propose(due))
		if n := len(a.Refused) + len(a.Pots); n > 0 && w.view.At() == w.now {
			w.fail("leader", "%d jobs and pots whose retention is over were kept", n)
		}
	}
}

// jump passes a long time, days in several legs.
func (w *world) jump(d funding.Millis) {
	for d > 0 && w.failure == nil {
		leg := min(d, between(w, 6*hour, 30*hour))
		w.leap(leg)
		d -= leg
	}
}

// leap passes time at once. Executors went on meanwhile, or were cut off and froze their tasks.
func (w *world) leap(d funding.Millis) {
	from := w.now
	w.now += d
	if w.chance(30) {
		for _, r := range w.runs {
			if r.start != 0 && r.ended == nil && from > r.start && w.chance(50) {
				w.freeze(r, from, w.now)
			}
		}
	}
	if w.chance(80) {
		w.reportAll()
	}
	w.pulse()
	w.forget()
}

// badDecisions are a leader's that make no sense: what no longer holds is skipped, nothing breaks.
func (w *world) badDecisions() {
	run, stream := w.anyRun(), w.anyStream()
	switch w.dice.IntN(5) {
	case 0:
		entry := machine.Pulse{Expire: between[int32](w, 0, 3)}
		for reason := scheduler.ReasonNone; reason <= scheduler.ReasonFloor; reason++ {
			entry.Stop = append(entry.Stop, machine.StopRun{Run: run, Reason: reason, StopAt: between(w, 0, 2*w.now), KillAt: between(w, -w.now, 2*w.now)})
		}
		entry.Prune = []scheduler.PoolID{1, 2, 99}
		entry.Close, entry.Refunds = []funding.PotID{stream.Pot, 1}, []funding.RefundID{1, funding.RefundID(w.dice.IntN(20))}
		w.mayRefuse(w.propose(entry))
	case 1:
		list := []machine.StreamID{stream, stream, {Pot: 9999, Pool: 1}}
		w.mayRefuse(w.propose(machine.Pulse{Renew: list, Notice: list, Pause: list, Resume: list}))
	case 2:
		var entry machine.Place
		for range between(w, 1, 4) {
			job, task := jobID(w.dice.IntN(int(w.report.Jobs)+2)), int32(w.dice.IntN(14))
			entry.Decisions = append(entry.Decisions, machine.Placement{Job: job, First: task, Count: int32(w.dice.IntN(4)), Nodes: []scheduler.NodeID{scheduler.NodeID(w.dice.IntN(12))}})
		}
		w.mayRefuse(w.propose(entry))
	case 3:
		w.mayRefuse(w.propose(machine.Forget{Jobs: []jobID{jobID(w.dice.IntN(w.report.Jobs + 2)), jobID(w.dice.IntN(w.report.Jobs + 2))},
			Pots: []funding.PotID{stream.Pot, funding.PotID(w.dice.IntN(w.report.Jobs + 2)), 1, 1}}))
	case 4:
		pool := scheduler.PoolID(w.dice.IntN(4))
		r := w.propose(machine.Price{Pool: pool, Price: between[funding.Rate](w, 0, 6_000_000)})
		w.mayRefuse(r, machine.CodePoolUnknown, machine.CodePriceAboveL, machine.CodeInvalid, machine.CodeStale)
	}
}

func (w *world) anyRun() runID {
	if r, ok := one(w, w.runs); ok {
		return r.id
	}
	return runID(w.dice.IntN(w.report.Runs + 2))
}

func (w *world) anyStream() machine.StreamID {
	if r, ok := one(w, w.runs); ok {
		return machine.StreamID{Pot: r.job.pot, Pool: r.pool}
	}
	return machine.StreamID{Pot: 1, Pool: 1}
}
