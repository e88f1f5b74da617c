package server

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/coinop/coinop/consensus/machine"
)

// reportsMax bounds one entry of reports.
const reportsMax = 1024

// reports gathers what executors say of their runs into entries: while one entry is on its way the next one fills, so
// that a busy cluster writes few large entries and a quiet one writes at once.
type reports struct {
	truth truth
	log   *slog.Logger

	mu      sync.Mutex
	waiting []machine.RunReport // guarded by mu; bounded by the runs that there are, since executors wait to be heard
	bell    bell
}

func newReports(t truth, log *slog.Logger) *reports {
	return &reports{truth: t, log: log, bell: newBell()}
}

func (r *reports) add(report machine.RunReport) {
	r.mu.Lock()
	r.waiting = append(r.waiting, report)
	r.mu.Unlock()
	r.bell.ring()
}

func (r *reports) take() []machine.RunReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting), reportsMax)
	batch := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	if len(r.waiting) == 0 {
		r.waiting = nil
	} else {
		r.bell.ring()
	}
	return batch
}

// run writes until ctx ends. What could not be written is dropped: the executors say it again, on the stream to
// whoever leads then, until no order names the run.
func (r *reports) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.bell:
		}
		batch := r.take()
		if len(batch) == 0 {
			continue
		}
		if err := r.write(ctx, batch); err != nil && ctx.Err() == nil {
			r.log.Warn("reports not written", "runs", len(batch), "err", err)
		}
	}
}

func (r *reports) write(ctx context.Context, batch []machine.RunReport) error {
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	result, err := r.truth.Propose(ctx, machine.Report{Runs: batch})
	if err != nil {
		return err
	}
	return result.Err()
}

const (
	// verifyGap is the least time from one question to the next: ten thousand machines' heartbeats are a thousand reports a
	// second, and each question goes to every other server. A lease lasts hundreds of times as long. After a quiet moment
	// the question is asked at once.
	verifyGap = 100 * time.Millisecond
	// answersMost is how many are answered before others may run: each answer wakes several goroutines, and what servers say
	// to each other waits behind them.
	answersMost = 16
)

// verifier confirms leadership for many waiters at once: those who come while one question is under way, or just after
// it, share the next one, which is asked after they came.
type verifier struct {
	verify func(ctx context.Context) error

	mu      sync.Mutex
	waiting []func() // guarded by mu
	bell    bell
}

func newVerifier(verify func(ctx context.Context) error) *verifier {
	return &verifier{verify: verify, bell: newBell()}
}

// after calls then once leadership was verified by a question asked after this call; never, if it is lost.
func (v *verifier) after(ctx context.Context, then func()) {
	v.mu.Lock()
	v.waiting = append(v.waiting, func() {
		if ctx.Err() == nil {
			then()
		}
	})
	v.mu.Unlock()
	v.bell.ring()
}

// run asks until ctx ends.
func (v *verifier) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.bell:
		}
		v.mu.Lock()
		waiting := v.waiting
		v.waiting = nil
		v.mu.Unlock()
		gap := time.After(verifyGap)
		ask, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := v.verify(ask)
		cancel()
		if err != nil {
			waiting = nil // leadership is lost or in doubt: no lease
		}
		for i, then := range waiting {
			then()
			if i%answersMost == answersMost-1 {
				runtime.Gosched()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-gap:
		}
	}
}
