package scheduler

import (
	"slices"

	"github.com/coinop/coinop/funding"
)

// Decision is one task to be run on one node.
type Decision struct {
	Job  JobID  `cbor:"1,keyasint"`
	Task int32  `cbor:"2,keyasint,omitempty"`
	Node NodeID `cbor:"3,keyasint"`
}

// Place decides which waiting tasks start where, at most limit of them (zero: no limit). It changes
// nothing. The highest effective bid goes first, then the earliest submission; when that finds no
// room, work of other shapes may pass. A task takes the node whose free room is worth least among
// those that hold it. Nothing depends on the time until there are reservations.
func Place(x *Index, _ funding.Millis, limit int) []Decision {
	p := placing{own: new(owner), classes: slices.Clone(x.fleet.classes), limit: limit, x: x}
	lanes := p.lanes(x)
	for len(lanes) > 0 && !p.full() {
		l := lanes[0]
		if l.head.bid < l.floor || !p.start(l) || !l.advance() {
			lanes[0] = lanes[len(lanes)-1]
			lanes = lanes[:len(lanes)-1]
		}
		sink(lanes, 0)
	}
	return p.out
}

// placing is one call's scratch: a copy of the rooms, of which only what is taken is copied.
type placing struct {
	own     *owner
	classes []class
	limit   int
	out     []Decision
	x       *Index
	decks   map[NodeID]*deck // of nodes whose GPUs were dealt out; looked up, never iterated
}

func (p *placing) full() bool { return p.limit > 0 && len(p.out) >= p.limit }

// lane is the waiting work of one shape in its order.
type lane struct {
	shape   *Shape
	floor   funding.Rate
	want    *want // of GPUs, if any
	worth   int64
	classes []int // that can run it
	head    ticket
	queue   tree[ticket]
	read    [readAhead]ticket
	ahead   []ticket // of read, next first
}

// lanes opens the queue of each shape that has both work and room, the first head on top.
func (p *placing) lanes(x *Index) []*lane {
	var lanes []*lane
	t, ok := x.queue.First(ticket{bid: topRate})
	for ok {
		if l := p.lane(x, t); l != nil {
			lanes = append(lanes, l)
		}
		t, ok = x.queue.First(ticket{shape: t.shape + 1, bid: topRate})
	}
	for i := len(lanes)/2 - 1; i >= 0; i-- {
		sink(lanes, i)
	}
	return lanes
}

func (p *placing) lane(x *Index, head ticket) *lane {
	s, ok := find(x.shapes, head.shape)
	if !ok {
		return nil
	}
	pool, ok := find(x.pools, s.Pool)
	if !ok {
		return nil
	}
	l := &lane{shape: s.Shape, floor: pool.Floor, worth: worthOf(pool.Weights, s.Need), head: head, queue: x.queue, want: wantOf(pool, s.Shape)}
	for i := range p.classes {
		if p.classes[i].serves(s.Shape, l.want) {
			l.classes = append(l.classes, i)
		}
	}
	if room, _ := p.best(l, nil); room == nil {
		return nil
	}
	return l
}

// readAhead tickets are read at once: a search for each would cost as much as finding its node.
const readAhead = 64

func (l *lane) advance() bool {
	if len(l.ahead) == 0 {
		l.ahead = l.read[:0]
		l.queue.Ascend(l.head, func(t ticket) bool {
			if t.shape == l.shape.ID && t.id != l.head.id {
				l.ahead = append(l.ahead, t)
			}
			return t.shape == l.shape.ID && len(l.ahead) < readAhead
		})
	}
	if len(l.ahead) == 0 {
		return false
	}
	l.head, l.ahead = l.ahead[0], l.ahead[1:]
	return true
}

// start places as many tasks of the lane's first job as it may start and find room. False means that
// room has run out for the shape.
func (p *placing) start(l *lane) bool {
	n := int64(l.head.count)
	if p.limit > 0 {
		n = min(n, int64(p.limit-len(p.out)))
	}
	for i := int64(0); i < n; {
		room, c := p.best(l, l.head.faults())
		if room == nil {
			return false
		}
		// The node stays the best one for this shape until it is full: its room only falls in worth.
		k := min(n-i, l.shape.Need.times(room.room))
		taken := *room
		left := spot{node: taken.node, room: taken.room.Plus(l.shape.Need, -k), parts: taken.parts}
		if l.want != nil && len(p.classes[c].kinds) > 0 {
			k, left = 1, p.deal(l, taken) // another node's GPUs may suit better after each
		}
		left.worth = worthOf(p.classes[c].weights, left.room)
		p.classes[c].free.drop(p.own, taken.worth, taken.node)
		p.classes[c].free.put(p.own, left)
		for ; k > 0; k-- {
			p.out = append(p.out, Decision{l.head.id, l.head.task(int32(i)), taken.node})
			i++
		}
	}
	return true
}

// best is the node to take: one where the job has not met a fault, if there is any.
func (p *placing) best(l *lane, faults []NodeID) (*spot, int) {
	if l.want != nil {
		return p.bestGPU(l, faults)
	}
	var best *spot
	in := 0
	for _, c := range l.classes {
		s := p.classes[c].free.find(l.shape.Need, l.worth, faults, nil)
		if s != nil && (best == nil || s.before(best.worth, best.node)) {
			best, in = s, c
		}
	}
	if best == nil && len(faults) > 0 {
		return p.best(l, nil)
	}
	return best, in
}

func (l *lane) before(o *lane) bool {
	if l.head.bid != o.head.bid {
		return l.head.bid > o.head.bid
	}
	return l.head.id < o.head.id
}

// sink restores the heap below i.
func sink(lanes []*lane, i int) {
	for {
		c := 2*i + 1
		if c >= len(lanes) {
			return
		}
		if c+1 < len(lanes) && lanes[c+1].before(lanes[c]) {
			c++
		}
		if !lanes[c].before(lanes[i]) {
			return
		}
		lanes[i], lanes[c] = lanes[c], lanes[i]
		i = c
	}
}
