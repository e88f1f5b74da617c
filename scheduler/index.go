package scheduler

import (
	"cmp"
	"slices"

	"github.com/coinop/coinop/funding"
)

// Index is what placing and pricing look at: derived from the records, the same on every replica
// whatever the order in which it was built.
//
// One goroutine owns an Index: it alone may call Copy and the Changed methods. A copy that nobody
// changes may be read by any number of goroutines at once.
type Index struct {
	own    *owner
	pools  tree[numbered[PoolID, *Pool]]
	shapes tree[numbered[ShapeID, shapeInfo]]
	jobs   tree[numbered[JobID, *Job]] // those not done
	queue  tree[ticket]
	claims tree[claim]
	stands tree[stand] // best claim of each pot and shape, by pool and pot
	heads  tree[stand] // best of each pot, by pool and bid
	spots  tree[spotRun]
	fleet  fleet
	gpus   tree[numbered[NodeID, *gpuNode]] // of usable nodes
}

type shapeInfo struct {
	*Shape
	fits bool // into a usable node when that is empty
}

// ticket is a job with tasks that may be placed now. It repeats what placing needs of most jobs:
// reading 40,000 records would cost more than finding the nodes.
type ticket struct {
	bid   funding.Rate
	id    JobID
	job   *Job
	shape ShapeID
	count int32 // tasks that may be placed
	next  int32 // the first of them, or -1: some wait again, or have met faults, and the job must be read
}

func ticketLess(a, b ticket) bool {
	if a.shape != b.shape {
		return a.shape < b.shape
	}
	if a.bid != b.bid {
		return a.bid > b.bid
	}
	return a.id < b.id
}

// NewIndex is the index of a cluster without records.
func NewIndex() *Index {
	return &Index{
		own:    new(owner),
		pools:  newTree(numberedLess[PoolID, *Pool]),
		shapes: newTree(numberedLess[ShapeID, shapeInfo]),
		jobs:   newTree(numberedLess[JobID, *Job]),
		queue:  newTree(ticketLess),
		claims: newTree(claimLess),
		stands: newTree(standLess),
		heads:  newTree(headLess),
		spots:  newTree(spotRunLess),
		gpus:   newTree(numberedLess[NodeID, *gpuNode]),
	}
}

// numbered is a record by its number.
type numbered[ID cmp.Ordered, R any] struct {
	id     ID
	record R
}

func numberedLess[ID cmp.Ordered, R any](a, b numbered[ID, R]) bool { return a.id < b.id }

func find[ID cmp.Ordered, R any](t tree[numbered[ID, R]], id ID) (R, bool) {
	k, ok := t.Get(numbered[ID, R]{id: id})
	return k.record, ok
}

// Copy is a snapshot in constant time; the two share what neither has changed since.
func (x *Index) Copy() *Index {
	x.own = new(owner) // from here on x, too, must copy what it changes
	return &Index{
		own:    new(owner),
		pools:  x.pools.Copy(),
		shapes: x.shapes.Copy(),
		jobs:   x.jobs.Copy(),
		queue:  x.queue.Copy(),
		claims: x.claims.Copy(),
		stands: x.stands.Copy(),
		heads:  x.heads.Copy(),
		spots:  x.spots.Copy(),
		fleet:  x.fleet,
		gpus:   x.gpus.Copy(),
	}
}

// JobChanged takes a job's new record; old is nil for a new one, new is nil for a forgotten one.
func (x *Index) JobChanged(old, new *Job) {
	if old != nil && (new == nil || new.State == JobDone) {
		x.jobs.Delete(numbered[JobID, *Job]{id: old.ID})
	}
	if new != nil && new.State != JobDone {
		x.jobs.Set(numbered[JobID, *Job]{new.ID, new})
	}
	was, is := startable(old), startable(new)
	same := was && is && old.Shape == new.Shape && old.Effective() == new.Effective() && old.Pot == new.Pot && old.Pool == new.Pool
	if was && !same {
		x.queue.Delete(ticketOf(old))
		x.reclaim(old, false)
	}
	if is {
		x.queue.Set(ticketOf(new))
	}
	if is && !same {
		x.reclaim(new, true)
	}
}

func startable(j *Job) bool { return j != nil && j.Startable() > 0 }

func ticketOf(j *Job) ticket {
	t := ticket{j.Effective(), j.ID, j, j.Shape, j.Startable(), j.Next}
	if len(j.Requeued) > 0 || len(j.Faults) > 0 {
		t.next = -1
	}
	return t
}

// task is the i-th of those that may be placed.
func (t *ticket) task(i int32) int32 {
	if t.next < 0 {
		return t.job.next(i)
	}
	return t.next + i
}

func (t *ticket) faults() []NodeID {
	if t.next < 0 {
		return t.job.Faults
	}
	return nil
}

// ShapeAdded takes a shape that jobs name.
func (x *Index) ShapeAdded(s *Shape) {
	if _, ok := find(x.shapes, s.ID); ok {
		return
	}
	x.shapes.Set(numbered[ShapeID, shapeInfo]{s.ID, shapeInfo{Shape: s}})
	x.refit(s.ID)
}

// ShapeGone forgets a shape that no job names any more.
func (x *Index) ShapeGone(id ShapeID) { x.shapes.Delete(numbered[ShapeID, shapeInfo]{id: id}) }

// PoolChanged takes a pool's new record; either may be nil.
func (x *Index) PoolChanged(old, new *Pool) {
	var weights Weights
	open, share := new != nil && new.Admission == Open, ""
	switch {
	case new != nil:
		x.pools.Set(numbered[PoolID, *Pool]{new.ID, new})
		weights, share = new.Weights, new.Share
	case old != nil:
		x.pools.Delete(numbered[PoolID, *Pool]{id: old.ID})
	default:
		return
	}
	id := idOf(old, new)
	x.fleet.own(x.own)
	for i := range x.fleet.classes {
		c := &x.fleet.classes[i]
		if c.pool != id {
			continue
		}
		c.open, c.share = open, share
		if c.weights != weights {
			c.weights = weights
			c.free, c.has = c.free.weighed(x.own, weights), c.has.weighed(x.own, weights)
		}
	}
	if old == nil || new == nil || old.Admission != new.Admission || old.Share != new.Share || !slices.Equal(old.Kinds, new.Kinds) || old.Weights.GPU != new.Weights.GPU {
		x.refitAll() // what is dearer than a name, that name does not get
	}
}

func idOf(old, new *Pool) PoolID {
	if new != nil {
		return new.ID
	}
	return old.ID
}

// NodeChanged takes a node's new record; either may be nil.
func (x *Index) NodeChanged(old, new *Node) {
	was, is := usable(old), usable(new)
	if !was && !is {
		return
	}
	x.fleet.own(x.own)
	x.gpuChanged(old, new)
	if was && is && old.Pool == new.Pool && old.Has == new.Has && slices.Equal(old.Drivers, new.Drivers) && slices.EqualFunc(old.DriverFacts, new.DriverFacts, DriverFacts.Equal) && slices.EqualFunc(old.Cards, new.Cards, Card.Equal) && slices.Equal(old.Shares, new.Shares) {
		if c := x.fleet.class(old); c != nil && (len(new.Cards) > 0 || old.Used != new.Used) {
			c.free.drop(x.own, worthOf(c.weights, old.Free()), old.ID)
			c.free.put(x.own, c.spot(new, new.Free(), new.Takes))
		}
		return
	}
	if was {
		x.fleet.leave(x.own, old)
	}
	if is {
		pool, ok := find(x.pools, new.Pool)
		if !ok {
			pool = &Pool{}
		}
		x.fleet.join(x.own, new, pool)
	}
	x.refitAll()
}

// usable nodes take work.
func usable(n *Node) bool { return n != nil && n.State == NodeUp }

// refitAll looks again at which shapes fit an empty node; machines come and go seldom.
func (x *Index) refitAll() {
	var changed []ShapeID
	x.shapes.Scan(func(s numbered[ShapeID, shapeInfo]) bool {
		if x.fits(s.record.Shape) != s.record.fits {
			changed = append(changed, s.id)
		}
		return true
	})
	for _, id := range changed {
		x.refit(id)
	}
}

// refit looks again at one shape: work that fits no machine does not count for the price.
func (x *Index) refit(id ShapeID) {
	s, _ := find(x.shapes, id)
	fits := x.fits(s.Shape)
	if fits == s.fits {
		return
	}
	x.eachPot(id, func(best claim) { x.standing(best, fits) })
	x.shapes.Set(numbered[ShapeID, shapeInfo]{id, shapeInfo{s.Shape, fits}})
}
