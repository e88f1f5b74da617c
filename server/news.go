package server

import (
	"context"
	"sync"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// bell wakes one waiter; rung twice before it looks, it wakes once.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// news tells the loops and the executors' streams what an entry has changed, so that nobody looks for it.
type news struct {
	place bell // something waits or a place is free
	price bell // a run or a waiting job came or went
	pulse bell // something has a new time to end

	mu    sync.Mutex
	nodes map[scheduler.NodeID]bell // guarded by mu; one stream a node
}

func newNews() *news {
	return &news{place: newBell(), price: newBell(), pulse: newBell(), nodes: map[scheduler.NodeID]bell{}}
}

// eventsAtOnce is how many events are looked at between two rounds of bells.
const eventsAtOnce = 4096

// run reads what happens until ctx ends.
func (n *news) run(ctx context.Context, from uint64, read func(ctx context.Context, seq uint64, limit int) ([]machine.Event, error), last func() uint64) {
	for ctx.Err() == nil {
		events, err := read(ctx, from, eventsAtOnce)
		if err != nil {
			// Too far behind, or a snapshot took the place of events: all may have changed.
			from = last()
			n.everything()
			continue
		}
		from = events[len(events)-1].Seq
		n.tell(events)
	}
}

func (n *news) tell(events []machine.Event) {
	work := false
	n.mu.Lock()
	for i := range events {
		e := &events[i]
		if e.Kind == machine.EventTransfer {
			continue
		}
		work = true
		if e.Node != 0 {
			if b, ok := n.nodes[e.Node]; ok {
				b.ring()
			}
		} else if e.Run != 0 || e.Kind == machine.EventDeposit || e.Kind == machine.EventPrice {
			// What changes for many runs at once concerns every node that runs something.
			n.allNodes()
		}
	}
	n.mu.Unlock()
	if work {
		n.loops()
	}
}

func (n *news) everything() {
	n.mu.Lock()
	n.allNodes()
	n.mu.Unlock()
	n.loops()
}

// allNodes rings every node's bell; mu is held.
func (n *news) allNodes() {
	for _, b := range n.nodes {
		b.ring()
	}
}

func (n *news) loops() {
	n.place.ring()
	n.price.ring()
	n.pulse.ring()
}

// follow hands out the bell of a node's stream; the one before it is forgotten.
func (n *news) follow(node scheduler.NodeID) bell {
	b := newBell()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[node] = b
	return b
}

func (n *news) unfollow(node scheduler.NodeID, b bell) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[node] == b {
		delete(n.nodes, node)
	}
}
