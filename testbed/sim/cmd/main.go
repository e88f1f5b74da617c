// Command cmd lives many lives of a cluster, each from a seed. It goes on after one that breaks an invariant, and ends with
// the seeds that did.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/testbed/sim"
)

// plan says which lives to live.
type plan struct {
	first   uint64
	seeds   int
	entries int
	limit   time.Duration // begin no life after it, and end those under way; zero: there is none
	workers int
	verbose bool
	every   time.Duration // how often to say how far it is
	replica func() sim.Replica
}

func main() {
	p := plan{every: 30 * time.Second}
	flag.IntVar(&p.seeds, "seeds", 200, "how many lives")
	flag.IntVar(&p.entries, "entries", 5000, "entries of each")
	flag.Uint64Var(&p.first, "first", 1, "the first seed; the others follow")
	only := flag.Uint64("seed", 0, "live this one only")
	flag.DurationVar(&p.limit, "for", 0, "live on until so much time is up, whatever the number of seeds; without -first the first one is drawn")
	flag.IntVar(&p.workers, "workers", runtime.GOMAXPROCS(0), "lives at once")
	flag.BoolVar(&p.verbose, "v", false, "tell what happened how often")
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case *only != 0:
		p.first, p.seeds = *only, 1
	case p.limit > 0:
		p.seeds = math.MaxInt
		if !given["first"] {
			p.first = uint64(rand.Uint32())
		}
	}
	debug.SetGCPercent(400) // lives are small, and their garbage is much
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := p.live(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		stop()
		os.Exit(1)
	}
}

// lives is what came of all lives so far.
type lives struct {
	plan
	began   time.Time
	entries atomic.Int64 // of lives that have ended and of those under way

	mu       sync.Mutex
	next     uint64
	ended    int
	total    sim.Report
	troubled map[string]int // lives by their troubles
	failed   []*sim.Failure
	err      error // the first that is no failure of a life
}

// live lives them all. Its error says how many failed; each was printed with what repeats it.
func (p plan) live(ctx context.Context, out io.Writer) error {
	keysets, err := sim.Keysets()
	if err != nil {
		return err
	}
	l := &lives{plan: p, began: time.Now(), troubled: map[string]int{},
		total: sim.Report{Codes: map[machine.Code]int{}, Seen: map[machine.EventKind]int{}}}
	if p.limit > 0 {
		fmt.Fprintf(out, "sim: seeds from %d on for %v, %d entries each\n", p.first, p.limit, p.entries)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.limit)
		defer cancel()
	}
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { l.watch(out, ended) })
	var all sync.WaitGroup
	for range max(1, p.workers) {
		all.Go(func() {
			for seed, ok := l.take(); ok && ctx.Err() == nil; seed, ok = l.take() {
				report, err := sim.Run(ctx, sim.Config{Seed: seed, Entries: p.entries, Keysets: keysets, Progress: &l.entries, Replica: p.replica})
				l.add(out, report, err)
			}
		})
	}
	all.Wait()
	close(ended)
	watching.Wait()
	return l.sum(out, ctx.Err())
}

// take gives the next seed.
func (l *lives) take() (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next >= uint64(l.seeds) || l.err != nil {
		return 0, false
	}
	l.next++
	return l.first + l.next - 1, true
}

func (l *lives) add(out io.Writer, r sim.Report, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total.Entries += r.Entries
	l.total.Jobs += r.Jobs
	l.total.Runs += r.Runs
	l.total.Refused += r.Refused
	l.total.Settled += r.Settled
	l.total.Days += r.Days
	l.total.Most = max(l.total.Most, r.Most)
	for code, n := range r.Codes {
		l.total.Codes[code] += n
	}
	for kind, n := range r.Seen {
		l.total.Seen[kind] += n
	}
	for _, trouble := range r.Troubles {
		l.troubled[trouble]++
	}
	var failure *sim.Failure
	switch {
	case errors.As(err, &failure):
		l.failed = append(l.failed, failure)
		fmt.Fprintln(out, failure)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return // cut short
	case err != nil && l.err == nil:
		l.err = err
	}
	l.ended++
}

// watch says now and then how far it has come.
func (l *lives) watch(out io.Writer, ended <-chan struct{}) {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		l.mu.Lock()
		done, failed, entries := l.ended, len(l.failed), l.entries.Load()
		passed := time.Since(l.began)
		fmt.Fprintf(out, "sim: %v: %d lives ended, %d failed; %d entries, %.0f a second\n",
			passed.Round(time.Second), done, failed, entries, float64(entries)/passed.Seconds())
		l.mu.Unlock()
	}
}

// sum tells what it came to, and lists the lives that failed.
func (l *lives) sum(out io.Writer, stopped error) error {
	if l.err != nil {
		return l.err
	}
	if l.verbose {
		fmt.Fprintf(out, "%+v\n", l.total)
	}
	state := "all invariants hold"
	if len(l.failed) > 0 {
		state = fmt.Sprintf("%d lives FAILED", len(l.failed))
	}
	if errors.Is(stopped, context.Canceled) {
		state = "stopped early, so far " + state
	}
	fmt.Fprintf(out, "sim: %d seeds x %d entries, %d entries in all, %d jobs, %s (%d runs, %d settlements on the way, %d days, %d entries refused, "+
		"states up to %d KiB; %v)\n", l.ended, l.plan.entries, l.total.Entries, l.total.Jobs, state, l.total.Runs, l.total.Settled, l.total.Days,
		l.total.Refused, l.total.Most>>10, time.Since(l.began).Round(time.Second))
	fmt.Fprintf(out, "sim: lives by what troubled them: %v\n", l.troubled)
	if len(l.failed) == 0 {
		return nil
	}
	for _, f := range l.failed {
		fmt.Fprintf(out, "sim: seed %d, entry %d, %s: again: %s\n", f.Seed, f.Entry, f.Invariant, f.Again())
	}
	return fmt.Errorf("%d of %d lives failed", len(l.failed), l.ended)
}
