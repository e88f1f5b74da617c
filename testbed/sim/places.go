package sim

import (
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// takes is what a run takes of its machine: what its job asked for, and while its state lies on disk only the bytes of that.
func (r *run) takes() scheduler.Resources {
	if r.nap != nil {
		return scheduler.Resources{Disk: r.job.need.Disk + r.job.need.Memory}
	}
	return r.job.need
}

// checkPlaces says that each machine has given away what its runs take, and that where one has come or gone on there is what
// it takes. Cards are [world.checkCards]'s; and what lies on a disk may have filled it: only whoever asks for disk minds.
func (w *world) checkPlaces(events []machine.Event) {
	used := map[scheduler.NodeID]scheduler.Resources{} // looked up, never iterated
	for _, r := range w.runs {
		used[r.node] = used[r.node].Plus(r.takes(), 1)
	}
	for _, n := range w.nodes {
		if record, ok := w.view.Node(n.id); ok && record.Used != used[n.id] {
			w.fail("place", "machine %d has given away %+v, its runs take %+v", n.id, record.Used, used[n.id])
		}
	}
	for _, e := range events {
		r := w.runsByID[e.Run]
		if r == nil || e.Kind != machine.EventPlaced && e.Kind != machine.EventResumed {
			continue
		}
		for _, n := range w.nodes {
			takes, has := used[n.id], n.facts.Has
			if n.id == r.node && (takes.CPUMilli > has.CPUMilli || takes.Memory > has.Memory || r.job.need.Disk > 0 && takes.Disk > has.Disk) {
				w.fail("place", "machine %d has %+v and has given away %+v with run %d", n.id, has, takes, r.id)
			}
		}
	}
}
