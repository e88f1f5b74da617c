package server

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

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
	nodes map[scheduler.NodeID]*ear // guarded by mu; one stream a node
	busy  map[scheduler.NodeID]*ear // guarded by mu; those of them that may have something to run
}

// ear is how a node's stream hears of what concerns it.
type ear struct {
	bell
	told atomic.Uint64 // how often something was told of this very node
}

func newNews() *news {
	return &news{place: newBell(), price: newBell(), pulse: newBell(), nodes: map[scheduler.NodeID]*ear{}, busy: map[scheduler.NodeID]*ear{}}
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
	work, many := false, false
	n.mu.Lock()
	for i := range events {
		e := &events[i]
		if e.Kind == machine.EventTransfer {
			continue
		}
		work = true
		if e.Node != 0 {
			if heard, ok := n.nodes[e.Node]; ok {
				n.tellNode(e.Node, heard)
			}
		} else if e.Run != 0 || slices.Contains([]machine.EventKind{machine.EventDeposit, machine.EventPrice, machine.EventPaused, machine.EventResumed}, e.Kind) {
			many = true // what changes for many runs at once concerns every node that runs something
		}
	}
	if many {
		for _, heard := range n.busy {
			heard.ring()
		}
	}
	n.mu.Unlock()
	if work {
		n.loops()
	}
}

func (n *news) everything() {
	n.mu.Lock()
	for node, heard := range n.nodes {
		n.tellNode(node, heard)
	}
	n.mu.Unlock()
	n.loops()
}

// tellNode rings a node's bell; mu is held.
func (n *news) tellNode(node scheduler.NodeID, heard *ear) {
	n.busy[node] = heard
	heard.told.Add(1)
	heard.ring()
}

func (n *news) loops() {
	n.place.ring()
	n.price.ring()
	n.pulse.ring()
}

// follow hands out the ear of a node's stream; the one before it is forgotten.
func (n *news) follow(node scheduler.NodeID) *ear {
	heard := &ear{bell: newBell()}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[node], n.busy[node] = heard, heard
	return heard
}

// idle says that a node had nothing to run in a view that is not older than told, which its ear was asked for before. It
// is spared what concerns many, until something is told of it.
func (n *news) idle(node scheduler.NodeID, heard *ear, told uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.busy[node] == heard && heard.told.Load() == told {
		delete(n.busy, node)
	}
}

func (n *news) unfollow(node scheduler.NodeID, heard *ear) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[node] == heard {
		delete(n.nodes, node)
		delete(n.busy, node)
	}
}
