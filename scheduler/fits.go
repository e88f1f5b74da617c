package scheduler

// gpuNode is what placing needs to know of a node that has told its GPUs, or had none for somebody.
type gpuNode struct {
	cards   []Card
	deck    *deck // with what is taken
	refused []RefusedShape
}

// deckFor is a node's GPUs for a shape, with what is taken of them; none where it has refused the shape.
func (g *gpuNode) deckFor(s *Shape) *deck {
	if g == nil {
		return &deck{}
	}
	for _, r := range g.refused {
		if r.Shape == s.ID {
			return nil
		}
	}
	return g.deck
}

func notesGPUs(n *Node) bool { return usable(n) && len(n.Cards)+len(n.Refused) > 0 }

// gpuChanged keeps what is known of a node's GPUs.
func (x *Index) gpuChanged(old, new *Node) {
	switch {
	case notesGPUs(new):
		x.gpus.Set(numbered[NodeID, *gpuNode]{new.ID, &gpuNode{new.Cards, deckOf(new.Cards, new.Takes), new.Refused}})
	case notesGPUs(old):
		x.gpus.Delete(numbered[NodeID, *gpuNode]{id: old.ID})
	}
}

// wants is what a shape asks of GPUs. Of a pool that is not known nothing is.
func (x *Index) wants(s *Shape) *want {
	p, ok := find(x.pools, s.Pool)
	if !ok {
		p = &Pool{ID: s.Pool}
	}
	return wantOf(p, s)
}

// fits reports whether a node would hold the shape when empty.
func (x *Index) fits(s *Shape) bool {
	return x.anyRoom(s, func(c *class) *rooms { return &c.has }, func(n NodeID) *deck {
		if g, ok := find(x.gpus, n); ok {
			return deckOf(g.cards, nil)
		}
		return &deck{}
	})
}

func (x *Index) anyRoom(s *Shape, of func(*class) *rooms, deck func(NodeID) *deck) bool {
	w := x.wants(s)
	for i := range x.fleet.classes {
		c := &x.fleet.classes[i]
		if !c.serves(s, w) {
			continue
		}
		if at, _ := c.find(of(c), s, w, worthOf(c.weights, s.Need), nil, deck); at != nil {
			return true
		}
	}
	return false
}

// Fits reports whether any usable node would hold the shape when empty.
func Fits(x *Index, s *Shape) bool { return x.fits(s) }

// HasRoom reports whether a node has room for the shape now.
func HasRoom(x *Index, s *Shape) bool {
	return x.anyRoom(s, func(c *class) *rooms { return &c.free }, func(n NodeID) *deck {
		g, _ := find(x.gpus, n)
		return g.deckFor(s)
	})
}

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
