package consensus

import (
	"context"
	"sync"
)

// progress is how far something has come, and who waits for it to get further.
type progress struct {
	mu      sync.Mutex
	at      uint64
	waiting map[chan struct{}]uint64
}

func newProgress() *progress { return &progress{waiting: map[chan struct{}]uint64{}} }

func (p *progress) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// reach tells that n is reached; it never goes back.
func (p *progress) reach(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n <= p.at {
		return
	}
	p.at = n
	for ch, want := range p.waiting {
		if want <= n {
			close(ch)
			delete(p.waiting, ch)
		}
	}
}

// wait returns when n is reached.
func (p *progress) wait(ctx context.Context, n uint64) error {
	p.mu.Lock()
	if p.at >= n {
		p.mu.Unlock()
		return nil
	}
	ch := make(chan struct{})
	p.waiting[ch] = n
	p.mu.Unlock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		delete(p.waiting, ch)
		p.mu.Unlock()
		return ctx.Err()
	}
}

// signal wakes all who wait for something to change.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

func newSignal() *signal { return &signal{ch: make(chan struct{})} }

// next is closed at the next change.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ch
}

func (s *signal) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ch)
	s.ch = make(chan struct{})
}
