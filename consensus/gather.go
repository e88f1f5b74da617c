package consensus

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// gatherFor is how long entries gather under load before they are written. A disk that syncs in a tenth of it would be
// asked for every second entry, and each write wakes the book and all who watch.
const gatherFor = time.Millisecond

// gatherer hands entries to raft: at once after a rest, otherwise all that came within a millisecond together.
type gatherer struct {
	mu     sync.Mutex // held while raft is given entries: after close it is given none
	last   time.Time  // when entries were handed over
	burst  *burst     // what gathers; nil: nothing does
	closed bool
}

type burst struct {
	entries [][]byte
	futures []raft.ApplyFuture // none: they were not handed over
	handed  chan struct{}
}

// apply returns errRetry where the entry never came to raft.
func (g *gatherer) apply(r *raft.Raft, entry []byte) (raft.ApplyFuture, error) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil, errRetry
	}
	b := g.burst
	if b == nil {
		rested := time.Since(g.last)
		if rested >= gatherFor {
			defer g.mu.Unlock()
			g.last = time.Now()
			return r.Apply(entry, enqueueMax), nil
		}
		b = &burst{handed: make(chan struct{})}
		g.burst = b
		time.AfterFunc(gatherFor-rested, func() { g.hand(r, b) })
	}
	mine := len(b.entries)
	b.entries = append(b.entries, entry)
	g.mu.Unlock()
	<-b.handed
	if b.futures == nil {
		return nil, errRetry
	}
	return b.futures[mine], nil
}

func (g *gatherer) hand(r *raft.Raft, b *burst) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer close(b.handed)
	g.burst, g.last = nil, time.Now()
	if g.closed {
		return
	}
	for _, entry := range b.entries {
		b.futures = append(b.futures, r.Apply(entry, enqueueMax))
	}
}

// close lets nothing more through.
func (g *gatherer) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}
