package nvml

import (
	"context"
	"fmt"
	"sync"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
)

// behindMax is how many events a watcher may leave unread; then its channel is closed, and it asks again.
const behindMax = 256

// hub passes events to watchers. It is ready when zero.
type hub struct {
	mu       sync.Mutex
	closed   bool
	watchers map[chan gpu.Event]struct{}
}

func (h *hub) watch(ctx context.Context, present []gpu.Event) (<-chan gpu.Event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("watch GPUs: %w", drivers.ErrUnavailable)
	}
	events := make(chan gpu.Event, behindMax+len(present))
	for _, event := range present {
		events <- event
	}
	if h.watchers == nil {
		h.watchers = map[chan gpu.Event]struct{}{}
	}
	h.watchers[events] = struct{}{}
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(events)
	})
	return events, nil
}

func (h *hub) drop(events chan gpu.Event) {
	if _, ok := h.watchers[events]; ok {
		delete(h.watchers, events)
		close(events)
	}
}

func (h *hub) publish(event gpu.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for events := range h.watchers {
		select {
		case events <- event:
		default:
			h.drop(events)
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for events := range h.watchers {
		h.drop(events)
	}
}
