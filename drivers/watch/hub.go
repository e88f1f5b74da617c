// Package watch passes the newest status of each task to whoever watches it.
package watch

import (
	"context"
	"sync"

	"github.com/coinop/coinop/drivers"
)

// Hub is ready when zero. A watcher that is slow gets the latest status of each task instead of all of them, so it holds up
// nobody and costs at most one status a task.
type Hub struct {
	mu       sync.Mutex
	closed   bool
	watchers map[*watcher]struct{}
}

type watcher struct {
	id      string // "" for all tasks
	mu      sync.Mutex
	order   []string
	latest  map[string]drivers.Status
	changed chan struct{} // holds one token while order is not empty or the hub has closed
	closed  bool
}

// Publish passes a status on. Statuses of one task must be published in their order.
func (h *Hub) Publish(status drivers.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if w.id == "" || w.id == status.ID {
			w.put(status)
		}
	}
}

// Close ends all channels after what is still to be delivered is dropped.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		w.mu.Lock()
		w.closed = true
		w.mu.Unlock()
		w.wake()
	}
}

// Watch subscribes and then asks for the present state, so that no change falls in between. The channel is closed when ctx or
// the hub ends, and, for a single task, after its final status.
func (h *Hub) Watch(ctx context.Context, id string, present func() ([]drivers.Status, error)) (<-chan drivers.Status, error) {
	w := &watcher{id: id, latest: map[string]drivers.Status{}, changed: make(chan struct{}, 1)}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, drivers.ErrUnavailable
	}
	if h.watchers == nil {
		h.watchers = map[*watcher]struct{}{}
	}
	h.watchers[w] = struct{}{}
	h.mu.Unlock()
	statuses, err := present()
	if err != nil {
		h.drop(w)
		return nil, err
	}
	for _, s := range statuses {
		w.putOlder(s)
	}
	out := make(chan drivers.Status)
	go func() { // ends with ctx, the hub, or the task
		defer close(out)
		defer h.drop(w)
		w.pump(ctx, out)
	}()
	return out, nil
}

func (h *Hub) drop(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

func (w *watcher) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *watcher) put(s drivers.Status) {
	w.mu.Lock()
	if _, waiting := w.latest[s.ID]; !waiting {
		w.order = append(w.order, s.ID)
	}
	w.latest[s.ID] = s
	w.mu.Unlock()
	w.wake()
}

// putOlder adds a status that was read after subscribing; one that was published since is at least as new.
func (w *watcher) putOlder(s drivers.Status) {
	w.mu.Lock()
	_, waiting := w.latest[s.ID]
	w.mu.Unlock()
	if !waiting {
		w.put(s)
	}
}

func (w *watcher) take() (status drivers.Status, ok, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.order) == 0 {
		return drivers.Status{}, false, w.closed
	}
	id := w.order[0]
	w.order = w.order[1:]
	status = w.latest[id]
	delete(w.latest, id)
	return status, true, false
}

func (w *watcher) pump(ctx context.Context, out chan<- drivers.Status) {
	for {
		status, ok, closed := w.take()
		if closed {
			return
		}
		if !ok {
			select {
			case <-w.changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case out <- status:
		case <-ctx.Done():
			return
		}
		if w.id != "" && status.State.Final() {
			return
		}
	}
}
