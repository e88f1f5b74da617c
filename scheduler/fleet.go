package scheduler

import (
	"cmp"
	"slices"
)

// class is the usable nodes of a pool that can run the same things, by their room.
type class struct {
	pool    PoolID
	drivers []string   // sorted
	weak    []string   // of them, those that strangers' work must not be run by; sorted
	kinds   []cardKind // of GPUs, as kindsOf; none where nodes have none, or have not told their cards
	weights Weights    // the pool's, which order the rooms
	open    bool       // the pool takes strangers' work
	share   string     // the pool's
	shares  []string   // what the nodes have of such folders; sorted
	sharers []string   // of the drivers, those that let a task work in one; sorted
	free    rooms      // now
	has     rooms      // when empty
}

// fleet is all usable nodes. There are few classes; nodes of any size may be in one.
type fleet struct {
	owner   *owner
	classes []class // by pool, drivers and kinds of GPUs
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

// weakOf lists the drivers of a node that keep a task from the machine no further than a user of its own does, as they say
// themselves. Of one that has said nothing yet the name has to do.
func weakOf(n *Node) []string {
	var weak []string
	for _, d := range n.DriverFacts {
		if d.Isolation != "container" && d.Isolation != "vm" {
			weak = append(weak, d.Name)
		}
	}
	slices.Sort(weak)
	return weak
}

// Drives says whether a node may run work of a pool by a driver: an open pool takes anybody's, which has to be confined.
func (n *Node) Drives(p *Pool, driver string) bool {
	return slices.Contains(n.Drivers, driver) && (p.Admission != Open || !slices.Contains(weakOf(n), driver))
}

// classOf is what makes a node's class.
func classOf(n *Node) class {
	c := class{pool: n.Pool, drivers: driversOf(n), weak: weakOf(n), kinds: kindsOf(n)}
	if len(n.Shares) > 0 {
		c.shares, c.sharers = n.Shares, sharersOf(n)
	}
	return c
}

// Moves says what another node's driver must say for what this one's has suspended to go on there; empty: nowhere else.
func (n *Node) Moves(driver string) string {
	for _, facts := range n.DriverFacts {
		if facts.Name == driver {
			return facts.Moves
		}
	}
	return ""
}

// seek finds the class in which a node is or would be.
func (f *fleet) seek(n *Node) (int, bool) {
	return slices.BinarySearchFunc(f.classes, classOf(n), func(c, of class) int {
		return cmp.Or(cmp.Compare(c.pool, of.pool), slices.Compare(c.drivers, of.drivers), slices.Compare(c.weak, of.weak), slices.CompareFunc(c.kinds, of.kinds, compareKinds),
			slices.Compare(c.shares, of.shares), slices.Compare(c.sharers, of.sharers))
	})
}

func (f *fleet) class(n *Node) *class {
	i, ok := f.seek(n)
	if !ok {
		return nil
	}
	return &f.classes[i]
}

func (f *fleet) join(o *owner, n *Node, p *Pool) {
	i, ok := f.seek(n)
	if !ok {
		c := classOf(n)
		c.weights, c.open, c.share = p.Weights, p.Admission == Open, p.Share
		f.classes = slices.Insert(f.classes, i, c)
	}
	c := &f.classes[i]
	c.free.put(o, c.spot(n, n.Free(), n.Takes))
	c.has.put(o, c.spot(n, n.Has, nil))
}

// spot is a node's room, with what is taken of its GPUs.
func (c *class) spot(n *Node, room Resources, takes []Take) spot {
	s := spot{worth: worthOf(c.weights, room), node: n.ID, room: room}
	if len(c.kinds) > 0 {
		s.parts = deckOf(n.Cards, takes).parts()
	}
	return s
}

func (f *fleet) leave(o *owner, n *Node) {
	i, ok := f.seek(n)
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

// serves reports whether nodes of the class could run the shape at all. What they have of GPUs is in w, nil where it asks
// for none; nodes that have not told their cards serve whoever does not mind which he has.
func (c *class) serves(s *Shape, w *want) bool {
	if c.pool != s.Pool || s.Nodes > 1 || !slices.Contains(c.drivers, s.Driver) || c.open && slices.Contains(c.weak, s.Driver) {
		return false
	}
	if s.Share != "" && (s.Share != c.share || !slices.Contains(c.shares, s.Share) || !slices.Contains(c.sharers, s.Driver)) {
		return false
	}
	return w == nil || len(c.kinds) == 0 && w.plain() || slices.ContainsFunc(c.kinds, func(k cardKind) bool { return w.sells(k.model) })
}

// find is the best spot among rooms of the class, with how well its GPUs suit. The deck is a node's cards with what is taken
// of them; nil where it must not have the shape.
func (c *class) find(r *rooms, s *Shape, w *want, worth int64, skip []NodeID, deck func(NodeID) *deck) (*spot, level) {
	if w == nil {
		return r.find(s.Need, worth, skip, nil), level{}
	}
	if len(c.kinds) == 0 {
		return r.find(s.Need, worth, skip, func(at *spot) bool { return deck(at.node) != nil }), level{}
	}
	for _, l := range w.levels(c.kinds) {
		room := w.room(l)
		found := r.find(s.Need, worth, skip, func(at *spot) bool {
			if at.parts&room != room {
				return false
			}
			d := deck(at.node)
			if d == nil {
				return false
			}
			has, cards := d.choose(w)
			return cards != nil && has == l
		})
		if found != nil {
			return found, l
		}
	}
	return nil, level{}
}
