package scheduler

import (
	"cmp"
	"slices"

	"github.com/coinop/coinop/funding"
)

// want is what a shape asks of GPUs, in its pool.
type want struct {
	GPURequest
	count int64
	pool  *Pool       // nil: what a card weighs does not matter
	sold  []soldModel // what sells has found out
}

type soldModel struct {
	model string
	sold  bool
}

// wantOf is nil where a shape asks for no GPU.
func wantOf(p *Pool, s *Shape) *want {
	if !s.GPU.Asks(s.Need) {
		return nil
	}
	return &want{GPURequest: s.GPU, count: s.Need.GPUs, pool: p}
}

// room is what of deck.parts a node must have to come to a level.
func (w *want) room(l level) uint8 {
	switch w.Kind {
	case GPUSlice:
		return either(l.fresh, idleSlice, cutSlice)
	case GPUShare:
		return either(l.fresh, idleShare, cutShare)
	}
	return 0
}

// sells says whether cards of a model may be had for it.
func (w *want) sells(model string) bool {
	for i := range w.sold {
		if w.sold[i].model == model {
			return w.sold[i].sold
		}
	}
	sold := w.pool == nil && IsModel(model, w.Model) || w.pool != nil && w.pool.Sells(w.GPURequest, model)
	w.sold = append(w.sold, soldModel{model, sold})
	return sold
}

// level says how well cards suit: those of which a part is sold already go first where a part is asked for, so that whole
// ones stay whole, and then those with the least memory.
type level struct {
	fresh  bool
	memory int64
}

func (l level) compare(o level) int {
	if l.fresh != o.fresh {
		if o.fresh {
			return -1
		}
		return 1
	}
	return cmp.Compare(l.memory, o.memory)
}

// levels lists what nodes with such cards may come to, the best first.
func (w *want) levels(kinds []cardKind) []level {
	var out []level
	for _, k := range kinds { // the least memory first
		if (w.Kind == GPUSlice || k.memory >= w.Memory) && w.sells(k.model) {
			out = append(out, level{memory: k.memory})
		}
	}
	out = slices.Compact(out)
	if w.Kind == GPUWhole {
		return out
	}
	for _, l := range slices.Clone(out) {
		out = append(out, level{true, l.memory})
	}
	return out
}

// choose picks cards for one task, none where they don't suffice.
func (d *deck) choose(w *want) (level, []int32) {
	if w.Kind == GPUWhole {
		return d.chooseWhole(w)
	}
	return d.choosePart(w)
}

// chooseWhole picks whole cards of one model, of the one with the least memory that has enough.
func (d *deck) chooseWhole(w *want) (level, []int32) {
	var best []int32
	var of *Card
	for i := range d.cards {
		c := &d.cards[i]
		if c.Sick || c.Memory < w.Memory || of != nil && compareKinds(cardKind{c.Memory, c.Model}, cardKind{of.Memory, of.Model}) >= 0 || !w.sells(c.Model) {
			continue
		}
		if cards := d.joined(c, w); cards != nil {
			best, of = cards, c
		}
	}
	if of == nil {
		return level{}, nil
	}
	return level{memory: of.Memory}, best
}

// joined picks from the idle cards of a sort: all of one island if any has enough, of the one with the least left over;
// else of the largest ones, unless each must reach each.
func (d *deck) joined(like *Card, w *want) []int32 {
	var islands [][]int32
	for i := range d.slots {
		c := &d.cards[d.slots[i].card]
		if c.Model != like.Model || c.Memory != like.Memory || !d.isIdle(i) {
			continue
		}
		k := slices.IndexFunc(islands, func(cards []int32) bool {
			return c.Island != 0 && d.cards[d.slots[cards[0]].card].Island == c.Island
		})
		if k < 0 {
			islands = append(islands, []int32{int32(i)})
			continue
		}
		islands[k] = append(islands[k], int32(i))
	}
	n := int(w.count)
	var tight []int32
	for _, cards := range islands {
		if len(cards) >= n && (tight == nil || len(cards) < len(tight)) {
			tight = cards
		}
	}
	if tight != nil {
		return tight[:n]
	}
	if w.NVLink {
		return nil
	}
	slices.SortStableFunc(islands, func(a, b []int32) int { return cmp.Compare(len(b), len(a)) })
	all := slices.Concat(islands...)
	if len(all) < n {
		return nil
	}
	return slices.Sorted(slices.Values(all[:n]))
}

// choosePart picks the card to cut a slice from or to give a share of: one that is in parts already, the one with the
// least left; else one that leaves islands whole.
func (d *deck) choosePart(w *want) (best level, card []int32) {
	left := int32(0)
	for i := range d.slots {
		s, c := &d.slots[i], &d.cards[d.slots[i].card]
		rest, ok := d.partOf(s, c, w)
		if !ok || !w.sells(c.Model) {
			continue
		}
		l := level{d.isIdle(i), c.Memory}
		if l.fresh {
			rest = d.neighbours(c)
		}
		if order := l.compare(best); card == nil || order < 0 || order == 0 && rest < left {
			best, left, card = l, rest, []int32{int32(i)}
		}
	}
	return best, card
}

// partOf says whether a card has room for the part, and how much of it would be left.
func (d *deck) partOf(s *slot, c *Card, w *want) (rest int32, ok bool) {
	if c.Sick || s.whole {
		return 0, false
	}
	if w.Kind == GPUShare {
		return c.Shares - s.shares - 1, !c.SlicesOnly && s.cuts == 0 && s.shares < c.Shares && c.Memory >= w.Memory
	}
	p, ok := c.profile(w.Profile)
	rest = c.parts() - s.cuts - p.Slices
	return rest, ok && s.shares == 0 && rest >= 0 && p.Memory >= w.Memory && s.bytes+p.Memory <= c.Memory
}

// neighbours counts the idle cards of a card's island, itself included.
func (d *deck) neighbours(c *Card) (n int32) {
	if c.Island == 0 {
		return 1
	}
	for i := range d.slots {
		if o := &d.cards[d.slots[i].card]; o.Island == c.Island && d.isIdle(i) {
			n++
		}
	}
	return n
}

// TakeCards finds GPUs of a node for a task of a shape; false where it has none, or has refused the shape a moment ago.
// Nodes that have not told their cards have GPUs by their number alone.
func TakeCards(p *Pool, n *Node, s *Shape, run RunID) (Take, bool) {
	take := Take{Run: run, Kind: s.GPU.Kind, Profile: s.GPU.Profile}
	w := wantOf(p, s)
	switch {
	case w == nil:
		return take, true
	case n.refuses(s.ID):
		return take, false
	case len(kindsOf(n)) == 0:
		return take, s.GPU.plain()
	}
	_, take.Cards = deckOf(n.Cards, n.Takes).choose(w)
	return take, take.Cards != nil
}

// DealAgain finds GPUs anew for what runs on a node whose cards are others than they were: its tasks go on, on whichever
// they have.
func (n *Node) DealAgain(shapeOf func(RunID) *Shape) {
	d, takes := deckOf(n.Cards, nil), slices.Clone(n.Takes)
	for i := range takes {
		s := shapeOf(takes[i].Run)
		_, takes[i].Cards = d.choose(wantOf(nil, s))
		d.take(&takes[i])
	}
	n.Takes = takes
}

// RefusedShape is a shape for which a node had no GPU although it should have had one.
type RefusedShape struct {
	Shape ShapeID        `cbor:"1,keyasint"`
	Until funding.Millis `cbor:"2,keyasint"`
}

func (n *Node) refuses(s ShapeID) bool {
	return slices.ContainsFunc(n.Refused, func(r RefusedShape) bool { return r.Shape == s })
}
