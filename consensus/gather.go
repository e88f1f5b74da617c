package consensus

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// gatherFor is how long entries gather under load before they are written. A disk that syncs in a tenth of it would be
// asked for every second entry, and each write wakes the book and all who watch.
const gatherFor = time.Millisecond

// gatherFrom is how many entries within gatherFor are load. Fewer are written one by one: beside somebody's thousand a
// second, nobody should wait for company.
const gatherFrom = 4

// gatherer hands entries to raft: one by one while few come, otherwise all that came within a millisecond together.
type gatherer struct {
	mu     sync.Mutex // held while raft is given entries: after close it is given none
	since  time.Time  // when the millisecond began that is counted
	came   int        // entries handed over in it
	loaded bool       // many were handed over at its beginning: this one has as many
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
	if g.burst == nil {
		now := time.Now()
		wait := g.waits(now)
		if wait == 0 {
			defer g.mu.Unlock()
			return r.Apply(entry, enqueueMax), nil
		}
		b := &burst{handed: make(chan struct{})}
		g.burst = b
		time.AfterFunc(wait, func() { g.hand(r, b) })
	}
	b := g.burst
	mine := len(b.entries)
	b.entries = append(b.entries, entry)
	g.mu.Unlock()
	<-b.handed
	if b.futures == nil {
		return nil, errRetry
	}
	return b.futures[mine], nil
}

// waits counts one more entry, and says how long the next ones gather with it; zero: it is handed over alone.
func (g *gatherer) waits(now time.Time) time.Duration {
	if now.Sub(g.since) >= gatherFor {
		g.since, g.came, g.loaded = now, 0, false
	}
	if g.came++; g.loaded || g.came > gatherFrom {
		return gatherFor - now.Sub(g.since)
	}
	return 0
}

// began begins the next millisecond after so many entries together.
func (g *gatherer) began(now time.Time, entries int) {
	g.since, g.came, g.loaded = now, 0, entries >= gatherFrom
}

func (g *gatherer) hand(r *raft.Raft, b *burst) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer close(b.handed)
	g.burst = nil
	g.began(time.Now(), len(b.entries))
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
