package api

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// curve does the multiplications, on a bounded number of processors, so that a flood of forged coins cannot starve the log.
// Addresses take turns: however many requests one of them has waiting, another's is not behind them.
type curve struct {
	most  int // requests that may wait
	gauge prometheus.Gauge

	mu      sync.Mutex
	free    int                            // guarded by mu: processors
	waiting int                            // guarded by mu
	lines   map[netip.Addr][]chan struct{} // guarded by mu: each address's requests, first come first; closed when it is their turn
	turns   []netip.Addr                   // guarded by mu: addresses with a line, the next one first
}

func newCurve(l Limits, m *metrics) *curve {
	return &curve{most: l.CurveQueue, gauge: m.curve, free: max(1, l.CurveWorkers), lines: map[netip.Addr][]chan struct{}{}}
}

// check runs f when a processor is free, and refuses when too many wait. Those of others are no reason to refuse an address
// that has none waiting.
func (c *curve) check(ctx context.Context, addr netip.Addr, f func() error) error {
	return c.do(ctx, addr, f, c.most)
}

// run runs f when a processor is free, however many wait: for what was accepted already.
func (c *curve) run(ctx context.Context, addr netip.Addr, f func() error) error {
	return c.do(ctx, addr, f, int(^uint(0)>>1))
}

func (c *curve) do(ctx context.Context, addr netip.Addr, f func() error, most int) error {
	c.gauge.Inc()
	defer c.gauge.Dec()
	addr = metered(addr)
	turn, err := c.join(addr, most)
	if err != nil {
		return err
	}
	select {
	case <-turn:
	case <-ctx.Done():
		c.leave(addr, turn)
		return ctx.Err()
	}
	defer c.next()
	return f()
}

// join takes a processor or a place in the address's line.
func (c *curve) join(addr netip.Addr, most int) (turn chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	turn = make(chan struct{})
	if c.free > 0 {
		c.free--
		close(turn)
		return turn, nil
	}
	line := c.lines[addr]
	if len(line) == 0 {
		c.turns = append(c.turns, addr)
	} else if c.waiting >= most {
		return nil, fail(codeBusy, "too many requests with coins are waiting")
	}
	c.lines[addr] = append(line, turn)
	c.waiting++
	return turn, nil
}

// next gives a processor that is free again to the first of the address whose turn it is.
func (c *curve) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.turns) == 0 {
		c.free++
		return
	}
	addr := c.turns[0]
	c.turns = c.turns[1:]
	turn := c.lines[addr][0]
	if c.shorten(addr, turn); len(c.lines[addr]) > 0 {
		c.turns = append(c.turns, addr)
	}
	close(turn)
}

// leave gives up a place, or the processor where it was this request's turn meanwhile.
func (c *curve) leave(addr netip.Addr, turn chan struct{}) {
	c.mu.Lock()
	left := c.shorten(addr, turn)
	if left && len(c.lines[addr]) == 0 {
		c.turns = slices.DeleteFunc(c.turns, func(other netip.Addr) bool { return other == addr })
	}
	c.mu.Unlock()
	if !left {
		c.next()
	}
}

// shorten takes a request out of its line; false: it is not there. The mutex is held.
func (c *curve) shorten(addr netip.Addr, turn chan struct{}) bool {
	line := c.lines[addr]
	i := slices.Index(line, turn)
	if i < 0 {
		return false
	}
	c.waiting--
	if line = slices.Delete(line, i, i+1); len(line) == 0 {
		delete(c.lines, addr)
	} else {
		c.lines[addr] = line
	}
	return true
}
