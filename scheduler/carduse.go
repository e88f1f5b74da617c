package scheduler

// CardUse is what is taken of a node's GPUs of one row.
type CardUse struct {
	Free   int32 // could be had whole
	Whole  int32 // GPUs that are sold whole
	Slices int32 // of compute, that are sold
	Parts  int32 // slices of compute that there are, where they can be cut
	Shares int32 // that are sold
}

// CardUses tells what is taken of each row of a node's GPUs.
func (n *Node) CardUses() []CardUse {
	uses, d := make([]CardUse, len(n.Cards)), deckOf(n.Cards, n.Takes)
	for i := range d.slots {
		s := &d.slots[i]
		u := &uses[s.card]
		if s.whole {
			u.Whole++
		}
		if d.isIdle(i) {
			u.Free++
		}
		if c := &d.cards[s.card]; c.MIG {
			u.Parts += c.parts()
		}
		u.Slices += s.cuts
		u.Shares += s.shares
	}
	return uses
}

// Holds says whether a node, were it empty and up, would hold a shape of a pool.
func Holds(p *Pool, n *Node, s *Shape) bool {
	empty := Node{Has: n.Has, Cards: n.Cards}
	_, ok := TakeCards(p, &empty, s, 0)
	return ok && s.Need.Within(empty.Free()) && n.Offers(p, s)
}
