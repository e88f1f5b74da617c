package executor

import (
	"context"
	"time"

	"github.com/coinop/coinop/drivers/gpu"
)

// meterGPUs asks, as often as there is a heartbeat, what the tasks use of their GPUs: one question for all of them, and none where
// no task has any.
func (e *Executor) meterGPUs(ctx context.Context) {
	next := time.NewTicker(e.config.Heartbeat)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
		if e.anyOnGPUs() {
			e.meter(ctx)
		}
	}
}

func (e *Executor) anyOnGPUs() bool {
	for _, r := range e.all() {
		if r.onGPUs() {
			return true
		}
	}
	return false
}

// meter asks once. That the provider does not answer is told by whoever asks it what there is.
func (e *Executor) meter(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, gpuPatience)
	defer cancel()
	all, err := e.config.GPUs.Usage(asking)
	if err != nil {
		e.log.Debug("what tasks use of GPUs is not known", "error", err)
		return
	}
	for task, used := range all {
		if r := e.byTask(task); r != nil && r.uses(used) {
			e.report(r)
		}
	}
}

// onGPUs says whether the run goes on, and has GPUs.
func (r *run) onGPUs() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end == nil && len(r.cards) > 0
}

// uses takes what the run has used so far, and says whether that is to be told.
func (r *run) uses(u gpu.Usage) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil || len(r.cards) == 0 {
		return false
	}
	r.using = usageOf(u, r.spec().GetGpu(), r.cards)
	return true
}

// has notes which GPUs the run has got.
func (r *run) has(cards []gpu.Granted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cards = cards
}
