package executor

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/coinop/coinop/drivers"
)

// watch passes on what a driver says of all its tasks. When the driver has restarted, each of its runs asks whether it is
// still known.
func (e *Executor) watch(ctx context.Context, name string, driver drivers.Driver) {
	for wait := 20 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		news, err := driver.Watch(ctx, "")
		if err != nil {
			if ctx.Err() == nil {
				e.log.Warn("a driver cannot be watched; trying again", "driver", name, "error", err)
			}
			_ = pause(ctx, wait)
			continue
		}
		wait = 20 * time.Millisecond
		e.watching(name)
		e.describe(ctx) // it may have been left out
		for status := range news {
			if r := e.byTask(status.ID); r != nil {
				r.observe(status)
			}
		}
		e.describe(ctx)
		_ = pause(ctx, wait)
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
