package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// slowLog is a truth whose entries take time, and which can refuse them.
type slowLog struct {
	takes time.Duration

	mu      sync.Mutex
	entries []machine.Command
	fail    error
}

func (l *slowLog) Propose(ctx context.Context, c machine.Command) (machine.Result, error) {
	select {
	case <-time.After(l.takes):
	case <-ctx.Done():
		return machine.Result{}, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return machine.Result{}, l.fail
	}
	l.entries = append(l.entries, c)
	return machine.Result{Code: machine.OK}, nil
}

func (l *slowLog) View() *machine.View { return machine.New().View() }
func (l *slowLog) Now() funding.Millis { return 0 }

func (l *slowLog) sizes() (sizes []int, runs []scheduler.RunID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.entries {
		report := c.(machine.Report)
		sizes = append(sizes, len(report.Runs))
		for _, r := range report.Runs {
			runs = append(runs, r.Run)
		}
	}
	return sizes, runs
}

// While one entry is on its way the next one fills; none is larger than the limit, nothing is lost and the order stays.
func TestReportsShareEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{takes: time.Second}
		r := newReports(l, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var loop sync.WaitGroup
		loop.Go(func() { r.run(ctx) })
		r.add(machine.RunReport{Run: 1})
		synctest.Wait() // its entry is on its way
		const all = 2*reportsMax + 7
		for i := 2; i <= all; i++ {
			r.add(machine.RunReport{Run: scheduler.RunID(i)})
		}
		time.Sleep(time.Minute)
		cancel()
		loop.Wait()
		sizes, runs := l.sizes()
		if len(sizes) != 4 || sizes[0] != 1 || sizes[1] != reportsMax || sizes[2] != reportsMax || len(runs) != all {
			t.Fatalf("%d reports in entries of %v", len(runs), sizes)
		}
		for i, run := range runs {
			if run != scheduler.RunID(i+1) {
				t.Fatalf("report %d is of run %d", i, run)
			}
		}
	})
}

// What could not be written is dropped: the executors say it again, to whoever leads then.
func TestReportsThatWereNotWrittenDoNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{fail: errors.New("no leader")}
		r := newReports(l, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var loop sync.WaitGroup
		loop.Go(func() { r.run(ctx) })
		r.add(machine.RunReport{Run: 1})
		synctest.Wait()
		l.mu.Lock()
		l.fail = nil
		l.mu.Unlock()
		r.add(machine.RunReport{Run: 2})
		synctest.Wait()
		cancel()
		loop.Wait()
		if _, runs := l.sizes(); len(runs) != 1 || runs[0] != 2 {
			t.Errorf("written: %v", runs)
		}
	})
}

// A waiter is told only by a question that was asked after it came, and by none that failed.
func TestLeadershipIsVerifiedAfterTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan error)
		asked := 0
		v := newVerifier(func(ctx context.Context) error { asked++; return <-answers })
		ctx, cancel := context.WithCancel(t.Context())
		var loop sync.WaitGroup
		loop.Go(func() { v.run(ctx) })
		var told []string
		after := func(name string, ctx context.Context) { v.after(ctx, func() { told = append(told, name) }) }
		gone, leave := context.WithCancel(ctx)
		after("first", ctx)
		synctest.Wait()
		after("second", ctx) // the question that is under way does not count for it
		after("third", ctx)
		after("gone", gone)
		leave()
		answers <- nil
		synctest.Wait()
		if len(told) != 1 || told[0] != "first" {
			t.Errorf("told after one answer: %v", told)
		}
		answers <- nil
		synctest.Wait()
		if len(told) != 3 || asked != 2 {
			t.Errorf("told after two answers: %v; %d questions", told, asked)
		}
		after("fourth", ctx)
		synctest.Wait()
		answers <- errors.New("no longer")
		synctest.Wait()
		if len(told) != 3 {
			t.Errorf("told without a leader: %v", told)
		}
		cancel()
		loop.Wait()
	})
}

// Who leads no longer decides no more, even where a decision was on its way.
func TestALeaderWhoseTermIsOverProposesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decided := 0
		l := &leader{news: newNews(), log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.loop(ctx, "test", l.news.place, dueEvery, func(ctx context.Context) (bool, error) {
				decided++
				<-ctx.Done() // the log does not take it
				return false, ctx.Err()
			})
		}()
		synctest.Wait()
		cancel()
		l.news.everything()
		<-done
		time.Sleep(time.Hour)
		if decided != 1 {
			t.Errorf("decided %d times", decided)
		}
	})
}
