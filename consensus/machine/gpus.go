package machine

import (
	"slices"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

const (
	// noRoomFor is how long a node is not tried again for a shape that it had no GPU for, unless it tells of a change.
	noRoomFor funding.Millis = 15_000
	// refusedMax bounds the shapes that a node remembers so.
	refusedMax = 64
)

// nodeRetry is a node at the time at which the first of its refusals is over.
type nodeRetry struct {
	at   funding.Millis
	node scheduler.NodeID
}

// giveBack takes from a node's books what a run had of its GPUs.
func giveBack(node *scheduler.Node, run scheduler.RunID) {
	if i := slices.IndexFunc(node.Takes, func(t scheduler.Take) bool { return t.Run == run }); i >= 0 {
		node.Takes = slices.Delete(slices.Clone(node.Takes), i, i+1)
	}
}

// refuseShape notes that a node had no GPU for a shape, although it should have had one. The first to be tried again is
// first.
func refuseShape(node *scheduler.Node, shape scheduler.ShapeID, until funding.Millis) {
	kept := slices.DeleteFunc(slices.Clone(node.Refused), func(r scheduler.RefusedShape) bool { return r.Shape == shape })
	node.Refused = append(kept[max(0, len(kept)+1-refusedMax):], scheduler.RefusedShape{Shape: shape, Until: until})
}

// retry lets a node be tried again for what it refused long enough ago.
func (tx *Tx) retry(id scheduler.NodeID) (bool, error) {
	old, ok := tx.nodes.get(id)
	if !ok || len(old.Refused) == 0 || old.Refused[0].Until > tx.at {
		return false, nil
	}
	node := *old
	node.Refused = slices.DeleteFunc(slices.Clone(old.Refused), func(r scheduler.RefusedShape) bool { return r.Until <= tx.at })
	tx.nodes.put(id, &node)
	return true, nil
}

// refusals finds nodes that may be tried again.
func (d *due) refusals() {
	d.retries.ascend(nodeRetry{}, func(key nodeRetry, _ none) bool {
		if key.at > d.at || len(d.pulse.Retry) >= dueMax {
			return false
		}
		d.pulse.Retry = append(d.pulse.Retry, key.node)
		return true
	})
}

// dealAgain finds GPUs for what runs on a node whose cards are others than they were, or were not told before.
func (tx *Tx) dealAgain(node *scheduler.Node) {
	shapes := make(map[scheduler.RunID]*scheduler.Shape) // looked up, never iterated
	node.Takes = nil
	tx.nodeRuns.ascend(nodeRun{node: node.ID}, func(key nodeRun, _ none) bool {
		if key.node != node.ID || len(node.Cards) == 0 {
			return false
		}
		if run, ok := tx.runs.get(key.run); ok {
			if shape := tx.shapes.must(run.Shape); shape.GPU.Asks(shape.Need) {
				shapes[run.ID] = shape
				node.Takes = append(node.Takes, scheduler.Take{Run: run.ID, Kind: shape.GPU.Kind, Profile: shape.GPU.Profile})
			}
		}
		return true
	})
	node.DealAgain(func(run scheduler.RunID) *scheduler.Shape { return shapes[run] })
}
