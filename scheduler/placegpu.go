package scheduler

// bestGPU is best where GPUs are asked for: those that suit best decide before what the room is worth.
func (p *placing) bestGPU(l *lane, faults []NodeID) (*spot, int) {
	var best *spot
	var top level
	in := 0
	deck := func(n NodeID) *deck { return p.deck(l.shape, n) }
	for _, c := range l.classes {
		s, at := p.classes[c].find(&p.classes[c].free, l.shape, l.want, l.worth, faults, deck)
		if s == nil {
			continue
		}
		if order := at.compare(top); best == nil || order < 0 || order == 0 && s.before(best.worth, best.node) {
			best, top, in = s, at, c
		}
	}
	if best == nil && len(faults) > 0 {
		return p.bestGPU(l, nil)
	}
	return best, in
}

// deal gives a task GPUs of a node, and tells what is left there.
func (p *placing) deal(l *lane, taken spot) spot {
	d := p.deck(l.shape, taken.node)
	if p.decks[taken.node] == nil {
		if p.decks == nil {
			p.decks = make(map[NodeID]*deck)
		}
		d = d.clone()
		p.decks[taken.node] = d
	}
	_, cards := d.choose(l.want)
	d.take(&Take{Cards: cards, Kind: l.want.Kind, Profile: l.want.Profile})
	left := taken.room.Plus(l.shape.Need, -1)
	left.GPUs = d.idle()
	return spot{node: taken.node, room: left, parts: d.parts()}
}

// deck is a node's GPUs for a shape, with what this call has dealt out of them; none where it has refused the shape.
func (p *placing) deck(s *Shape, n NodeID) *deck {
	g, _ := find(p.x.gpus, n)
	if d := p.decks[n]; d != nil && g.deckFor(s) != nil {
		return d
	}
	return g.deckFor(s)
}
