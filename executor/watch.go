package executor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coinop/coinop/drivers"
)

// watch passes on what a driver says of all its tasks. When the driver has restarted, each of its runs asks whether it is
// still known.
func (e *Executor) watch(ctx context.Context, name string, driver drivers.Driver) {
	for wait := 20 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		news, err := driver.Watch(ctx, "")
		if errors.Is(err, drivers.ErrBroken) {
			e.log.Error("a driver is broken: its tasks are ended, uncharged", "driver", name, "error", err)
			e.abandon(name, func(*run) error { return err })
			continue
		}
		e.setAway(name, err != nil)
		if err != nil {
			e.inquire(ctx, name)
			e.describe(ctx)
			e.abandon(name, func(r *run) error { return r.lapsed() })
			_ = pause(ctx, wait)
			continue
		}
		wait = 20 * time.Millisecond
		e.watching(name)
		poke(e.renew)
		asking, done := context.WithCancel(ctx)
		var asked sync.WaitGroup
		asked.Go(func() { e.inquireUntil(asking, name) })
		strangers := map[string]chan struct{}{}
		for status := range news {
			if r := e.byTask(status.ID); r != nil {
				r.observe(status)
			} else if !status.State.Final() {
				e.estrange(ctx, name, status, strangers)
			}
		}
		done()
		asked.Wait()
		_ = pause(ctx, wait)
	}
}

// estrange removes a task that no run knows: its run's folder is gone, or it was removed while this was said. A driver that
// goes on about it after that has made it up.
func (e *Executor) estrange(ctx context.Context, name string, s drivers.Status, strangers map[string]chan struct{}) {
	driver := e.config.Drivers[name]
	removed, known := strangers[s.ID]
	if !known {
		removed = make(chan struct{})
		strangers[s.ID] = removed
		e.wg.Go(func() {
			if err := driver.Remove(ctx, s.ID); err == nil {
				e.log.Warn("removed a task that no run knows", "driver", name, "task", s.ID)
				close(removed)
			}
		})
		return
	}
	select {
	case <-removed:
		if plugin, ok := driver.(interface {
			Distrust(ctx context.Context, why error) error
		}); ok {
			err := plugin.Distrust(ctx, fmt.Errorf("task %.64q: it is %s, and there is no such task", s.ID, s.State))
			e.log.Error("a driver tells of a task that was never given to it", "driver", name, "task", s.ID, "error", err)
		}
	default:
	}
}

// watching makes the driver's runs ask for themselves: what happened while nobody watched may have been missed.
func (e *Executor) watching(name string) {
	for _, r := range e.all() {
		r.mu.Lock()
		if r.journal.spec.GetDriver() == name && r.active {
			r.restarts++
			poke(r.changed)
		}
		r.mu.Unlock()
	}
}

// abandon gives up those of a driver's runs of which why says so.
func (e *Executor) abandon(name string, why func(*run) error) {
	for _, r := range e.all() {
		r.mu.Lock()
		if r.journal.spec.GetDriver() == name && r.active && r.disowned == nil {
			if r.disowned = why(r); r.disowned != nil {
				poke(r.changed)
			}
		}
		r.mu.Unlock()
	}
}

// errLapsed: nobody can say what becomes of a task, and its lease has kept it from running since it lapsed.
var errLapsed = errors.New("its driver does not answer, and its lease has lapsed")

// lapsed says whether the run's task is frozen for certain, though its driver is gone. The caller holds r.mu.
func (r *run) lapsed() error {
	const slack = int64(5 * time.Second)
	if r.granted == 0 || r.status.State.Final() || r.config.Boot() < r.granted+slack || !r.leased {
		return nil
	}
	return errLapsed
}

func (e *Executor) byTask(task string) *run {
	id, ok := runOfTask(task)
	if !ok {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.runs[id]; r != nil && r.journal.task == task {
		return r
	}
	return nil
}

// runOfTask is the reverse of taskName.
func runOfTask(task string) (uint64, bool) {
	dash := strings.LastIndexByte(task, '-')
	if dash < 0 {
		return 0, false
	}
	id, err := strconv.ParseUint(task[dash+1:], 10, 64)
	return id, err == nil
}
