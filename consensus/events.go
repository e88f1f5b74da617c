package consensus

import (
	"context"
	"fmt"
	"sync"

	"github.com/coinop/coinop/consensus/machine"
)

// tail is the newest events, in a ring: the bounded queue between the machine, which never waits,
// and readers, who each have their own place in it. Who falls behind its end is told so.
type tail struct {
	mu    sync.Mutex
	ring  []machine.Event // event seq lies at seq % len
	first uint64          // the oldest that is there
	last  uint64          // the newest; first-1 when there is none
	grown *progress
}

func newTail(size int) *tail {
	return &tail{ring: make([]machine.Event, size), first: 1, grown: newProgress()}
}

func (t *tail) add(events []machine.Event) {
	if len(events) == 0 {
		return
	}
	t.mu.Lock()
	for _, e := range events {
		t.ring[e.Seq%uint64(len(t.ring))] = e
		t.last = e.Seq
	}
	if size := uint64(len(t.ring)); t.last >= t.first+size {
		t.first = t.last - size + 1
	}
	t.mu.Unlock()
	t.grown.reach(events[len(events)-1].Seq)
}

// jump tells that events up to seq happened without coming through here.
func (t *tail) jump(seq uint64) {
	t.mu.Lock()
	t.first, t.last = seq+1, seq
	t.mu.Unlock()
	t.grown.reach(seq)
}

// after copies up to limit events that follow seq.
func (t *tail) after(seq uint64, limit int) ([]machine.Event, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case seq > t.last:
		return nil, fmt.Errorf("events after %d: %w: the last one is %d", seq, ErrBehind, t.last)
	case seq+1 < t.first:
		return nil, fmt.Errorf("events after %d: %w: the oldest is %d", seq, ErrBehind, t.first)
	}
	n := min(int(t.last-seq), limit)
	list := make([]machine.Event, n)
	for i := range list {
		list[i] = t.ring[(seq+1+uint64(i))%uint64(len(t.ring))]
	}
	return list, nil
}

// Events returns up to limit events that follow seq, waiting until there is one. ErrBehind: they
// have left this server's memory; the book or Replay has them.
func (n *Node) Events(ctx context.Context, seq uint64, limit int) ([]machine.Event, error) {
	if err := n.WaitEvent(ctx, seq+1); err != nil {
		return nil, err
	}
	return n.fsm.events.after(seq, limit)
}

// EventsBegin is the number of the oldest event that Events has; one more than the newest's when it
// has none.
func (n *Node) EventsBegin() uint64 {
	n.fsm.events.mu.Lock()
	defer n.fsm.events.mu.Unlock()
	return n.fsm.events.first
}

// WaitEvent returns when the event of this number has happened here.
func (n *Node) WaitEvent(ctx context.Context, seq uint64) error {
	if err := n.fsm.events.grown.wait(ctx, seq); err != nil {
		return fmt.Errorf("wait for event %d: %w", seq, err)
	}
	return nil
}
