package scheduler

import "slices"

// class is the usable nodes of a pool that can run the same things, by their room.
type class struct {
	pool    PoolID
	drivers []string // sorted
	weights Weights  // the pool's, which order the rooms
	free    rooms    // now
	has     rooms    // when empty
}

// fleet is all usable nodes. There are few classes; nodes of any size may be in one.
type fleet struct {
	owner   *owner
	classes []class // by pool and drivers
}

// own makes the list of classes the caller's.
func (f *fleet) own(o *owner) {
	if f.owner != o {
		f.classes, f.owner = slices.Clone(f.classes), o
	}
}

func driversOf(n *Node) []string {
	if slices.IsSorted(n.Drivers) {
		return n.Drivers
	}
	d := slices.Clone(n.Drivers)
	slices.Sort(d)
	return d
}

func (f *fleet) seek(pool PoolID, drivers []string) (int, bool) {
	return slices.BinarySearchFunc(f.classes, drivers, func(c class, d []string) int {
		if c.pool != pool {
			if c.pool < pool {
				return -1
			}
			return 1
		}
		return slices.Compare(c.drivers, d)
	})
}

func (f *fleet) class(pool PoolID, drivers []string) *class {
	i, ok := f.seek(pool, drivers)
	if !ok {
		return nil
	}
	return &f.classes[i]
}

func (f *fleet) join(o *owner, n *Node, w Weights) {
	i, ok := f.seek(n.Pool, driversOf(n))
	if !ok {
		f.classes = slices.Insert(f.classes, i, class{pool: n.Pool, drivers: driversOf(n), weights: w})
	}
	c := &f.classes[i]
	free := n.Free()
	c.free.put(o, spot{worthOf(c.weights, free), n.ID, free})
	c.has.put(o, spot{worthOf(c.weights, n.Has), n.ID, n.Has})
}

func (f *fleet) leave(o *owner, n *Node) {
	i, ok := f.seek(n.Pool, driversOf(n))
	if !ok {
		return
	}
	c := &f.classes[i]
	c.free.drop(o, worthOf(c.weights, n.Free()), n.ID)
	c.has.drop(o, worthOf(c.weights, n.Has), n.ID)
	if len(c.has.sections) == 0 {
		f.classes = slices.Delete(f.classes, i, i+1)
	}
}

// serves reports whether nodes of the class could run the shape at all.
func (c *class) serves(s *Shape) bool {
	return c.pool == s.Pool && s.Nodes <= 1 && slices.Contains(c.drivers, s.Driver)
}

// fits reports whether a node would hold the shape when empty.
func (f *fleet) fits(s *Shape) bool {
	for i := range f.classes {
		c := &f.classes[i]
		if c.serves(s) && c.has.find(s.Need, worthOf(c.weights, s.Need), nil) != nil {
			return true
		}
	}
	return false
}

// Fits reports whether any usable node would hold the shape when empty.
func Fits(x *Index, s *Shape) bool { return x.fleet.fits(s) }

// Largest is the most that any one usable node of the pool has of each resource, for telling whoever
// asked for more.
func Largest(x *Index, p PoolID) Resources {
	var most Resources
	for i := range x.fleet.classes {
		if c := &x.fleet.classes[i]; c.pool == p {
			most = atLeast(most, c.has.most())
		}
	}
	return most
}
