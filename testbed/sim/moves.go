package sim

import (
	"math/big"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// kindOfMachine is what a machine's driver says of where its suspended tasks go on: some say nothing.
func (w *world) kindOfMachine() string {
	switch n := w.dice.IntN(10); {
	case n < 7:
		return "qemu 7"
	case n < 9:
		return "qemu 8"
	}
	return ""
}

func (n *node) moves() string { return n.facts.DriverFacts[0].Moves }

// stows is the executor's word that the servers have what a suspended run is.
func (b *reports) stows(r *run) *machine.Suspended {
	n := b.nodeOf(r.node)
	if n == nil || n.moves() == "" {
		return nil
	}
	return &machine.Suspended{At: b.now, Stored: &scheduler.Stored{Digest: b.secret(), Size: between[int64](b.world, 1, 1<<40), Moves: n.moves()}}
}

// stow brings a suspended run to the servers.
func (w *world) stow(r *run) {
	w.now = max(w.now, w.view.At()) + between(w, 0, second)
	if record, ok := w.view.Run(r.id); !ok || record.State != scheduler.RunSuspended || r.node == 0 {
		return
	}
	b := reports{world: w}
	if word := b.stows(r); word != nil {
		b.put(r, machine.RunReport{Run: r.id, Suspended: word}, r.start)
		b.send()
	}
}

// part takes a suspended run's machine away from it: it is lost, drained at once, or full of other work.
func (w *world) part(r *run) {
	n := w.nodeOf(r.node)
	if n == nil {
		return // gone already
	}
	switch w.dice.IntN(3) {
	case 0:
		w.loseNode(n)
	case 1:
		w.mayRefuse(w.propose(machine.NodeState{Node: n.id, State: scheduler.NodeDraining, Reason: "kernel", Deadline: max(w.now, w.view.At()), Token: operator()}))
		w.pulse()
	default:
		w.crowd(r)
	}
}

// hearStored notes that the servers have what a suspended run is or, where there is a reason, that they alone have it.
func (w *world) hearStored(e machine.Event) {
	r := w.runsByID[e.Run]
	switch {
	case r == nil || r.nap == nil:
		w.fail("I8", "run %d was stored and is not suspended", e.Run)
	case e.Reason == scheduler.ReasonNone:
		r.stored = w.nodeOf(r.node).moves()
	case r.stored == "":
		w.fail("I8", "run %d was left by its machine, and nobody has it", e.Run)
	default:
		r.node = 0
	}
}

// hearMoved ends a run that goes on elsewhere: it was charged for its keep up to now, and billed for what it ran.
func (w *world) hearMoved(before *machine.View, r *run, e machine.Event, files *machine.RunFiles) {
	if r.nap == nil || r.stored == "" {
		w.fail("I8", "run %d moved, and was not suspended or not stored", r.id)
		return
	}
	w.checkNap(before, r, e.At)
	if files.Billed != r.before {
		w.fail("I8", "run %d was billed for %d ms, and ran for %d before it moved", r.id, files.Billed, r.before)
	}
	w.moving = r
}

// hearArrived has a run go on as another one, on a machine of the same kind, with what is left of its limit and with money for
// a second and the pause grace at the lowest price since it was suspended.
func (w *world) hearArrived(r *run) {
	from := w.moving
	w.moving = nil
	if from.job != r.job || from.task != r.task {
		w.fail("I8", "run %d moved and run %d came", from.id, r.id)
		return
	}
	if n := w.nodeOf(r.node); n == nil || n.moves() != from.stored {
		w.fail("place", "run %d moved to machine %d, which cannot bring it back", from.id, r.node)
	}
	if limit := from.until(); limit != 0 {
		r.gone = r.job.limit - max(1, limit-from.dozed)
	}
	lasts := big.NewInt(int64(from.nap.grace + second))
	least := cost(r.job.weight, lasts.Mul(lasts, big.NewInt(int64(min(r.job.bid, w.prices[r.pool].lowest(from.nap.from))))))
	if record, ok := w.view.Run(r.id); !ok || record.Hold < least {
		w.fail("woken", "run %d moved with less than the %d that a second and the pause grace cost: %+v", from.id, least, record)
	}
	w.report.Moved++
}

// limit is how long the run may last: what its job may, less what went by in the runs that it was before.
func (r *run) limit() funding.Millis {
	if r.job.limit == 0 {
		return 0
	}
	return r.job.limit - r.gone
}
