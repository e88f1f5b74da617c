package consensus

import (
	"sync"
	"time"

	"github.com/coinop/coinop/funding"
)

// clock is the leader's: cluster time while it is in office. In office it is the last stamp of the
// log plus what this server's monotonic clock has counted since; the wall clock comes in at most
// once a term, when a majority of servers agrees with it.
type clock struct {
	mu     sync.Mutex
	office bool
	base   funding.Millis
	since  time.Time // carries the monotonic reading
	last   funding.Millis
	mono   func() time.Time
}

func newClock() *clock { return &clock{mono: time.Now} }

// take begins a term at the last stamp of the log.
func (c *clock) take(last funding.Millis) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.office, c.base, c.last, c.since = true, last, last, c.mono()
}

// lose ends the term: nothing is stamped any more.
func (c *clock) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.office = false
}

func (c *clock) now() funding.Millis {
	return max(c.last, c.base+funding.Millis(c.mono().Sub(c.since)/time.Millisecond))
}

// stamp is the time of a new entry; false out of office.
func (c *clock) stamp() (funding.Millis, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.office {
		return 0, false
	}
	c.last = c.now()
	return c.last, true
}

// read is the time without a stamp; false out of office.
func (c *clock) read() (funding.Millis, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.office {
		return 0, false
	}
	return c.now(), true
}

// advance moves on to the agreed wall clock; false if it lies behind, and nothing changes.
func (c *clock) advance(wall funding.Millis) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.office || wall < c.now() {
		return false
	}
	c.base, c.since = wall, c.mono()
	return true
}

// agree counts how many clocks lie within a span of ours.
func agree(ours time.Time, theirs []time.Time, within time.Duration) int {
	n := 0
	for _, t := range theirs {
		if d := t.Sub(ours); d <= within && d >= -within {
			n++
		}
	}
	return n
}
