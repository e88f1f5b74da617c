package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/plugin/driverpb"
	"github.com/coinop/coinop/drivers/plugin/keep"
	"github.com/coinop/coinop/drivers/shim"
)

// follow passes the plugin's statuses on until the stream breaks; begun is called when it stands.
func (l *link) follow(ctx context.Context, begun func()) error {
	defer l.hub.Close()
	stream, err := l.api.Watch(ctx, &driverpb.WatchRequest{})
	if err != nil {
		return fromWire(err)
	}
	for first := true; ; first = false {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return drivers.ErrUnavailable
		}
		if err != nil {
			return fromWire(err)
		}
		if first {
			begun()
			continue
		}
		if err := l.newer(statusFromWire(answer.GetStatus())); err != nil {
			return l.accuse(err)
		}
	}
}

// newer takes a status from the stream, which is in order.
func (l *link) newer(s drivers.Status) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.removed[s.ID] {
		if s.State.Final() {
			delete(l.removed, s.ID)
		}
		return nil
	}
	if !l.ghosts[s.ID] {
		now := shim.Boottime()
		if err := errors.Join(possible(s, now), follows(l.told[s.ID], s, now)); err != nil {
			return err
		}
	}
	l.told[s.ID] = s
	if known, ok := l.statuses[s.ID]; ok && rank(known) > rank(s) && !l.ghosts[s.ID] {
		return nil // an answer has overtaken it
	}
	l.statuses[s.ID] = s
	l.hub.Publish(s)
	return nil
}

// older takes a status from an answer about a task, which the stream may have overtaken, and returns the newer one.
func (l *link) older(id string, s drivers.Status) (drivers.Status, error) {
	err := possible(s, shim.Boottime())
	if s.ID != id {
		err = fmt.Errorf("asked about task %s it answers about %.64q", id, s.ID)
	}
	if err != nil {
		return drivers.Status{}, l.accuse(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.statuses[s.ID]; ok && rank(known) >= rank(s) {
		return known, nil
	}
	l.statuses[s.ID] = s
	l.hub.Publish(s)
	return s, nil
}

// measured takes what a task has used.
func (l *link) measured(id string, u drivers.Usage) error {
	l.mu.Lock()
	before, s := l.used[id], l.statuses[id]
	l.used[id] = u
	l.mu.Unlock()
	if err := plausible(before, u, s, shim.Boottime()); err != nil {
		return l.accuse(fmt.Errorf("task %s: %w", id, err))
	}
	return nil
}

func rank(s drivers.Status) int {
	switch {
	case s.State.Final():
		return 2
	case s.State == drivers.StateStarting:
		return 0
	}
	return 1
}

// expect prepares for a task that may have the id of one removed before.
func (l *link) expect(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.removed[id] {
		l.ghosts[id] = true
	}
	delete(l.removed, id)
}

// drop forgets a task that the plugin has removed. Its last statuses may still be under way in the stream, where a task started
// anew under the same id would meet them. So the final one is waited for; of a task not seen yet, all are refused.
func (l *link) drop(ctx context.Context, id string) {
	l.mu.Lock()
	status, known := l.statuses[id]
	if !known {
		l.removed[id] = true
	}
	l.mu.Unlock()
	if known && !status.State.Final() {
		l.await(ctx, id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.statuses, id)
	delete(l.told, id)
	delete(l.used, id)
	delete(l.ghosts, id)
}

func (l *link) await(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, keep.AnswerTimeout) // the plugin is another's program and may never say
	defer cancel()
	statuses, err := l.hub.Watch(ctx, id, func() ([]drivers.Status, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return []drivers.Status{l.statuses[id]}, nil
	})
	if err != nil {
		return // the link has broken, and what it knew goes with it
	}
	for range statuses {
	}
}

// status is the newest that is known of a task; what the stream has not brought yet is asked for.
func (l *link) status(ctx context.Context, id string) (drivers.Status, error) {
	l.mu.Lock()
	status, ok := l.statuses[id]
	l.mu.Unlock()
	if ok {
		return status, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := l.api.Watch(ctx, &driverpb.WatchRequest{Id: id})
	if err != nil {
		return drivers.Status{}, fromWire(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		return drivers.Status{}, fromWire(err)
	}
	return l.older(id, statusFromWire(answer.GetStatus()))
}
