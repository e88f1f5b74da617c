// Command cmd lives many lives of a cluster, each from a seed, and stops at the first that breaks an invariant.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/testbed/sim"
)

func main() {
	seeds := flag.Int("seeds", 200, "how many lives")
	entries := flag.Int("entries", 5000, "entries of each")
	first := flag.Uint64("first", 1, "the first seed; the others follow")
	only := flag.Uint64("seed", 0, "live this one only")
	workers := flag.Int("workers", runtime.GOMAXPROCS(0), "lives at once")
	verbose := flag.Bool("v", false, "tell what happened how often")
	flag.Parse()
	if *only != 0 {
		*first, *seeds = *only, 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *first, *seeds, *entries, *workers, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

// tally adds up what lives came to.
type tally struct {
	mu    sync.Mutex
	lives int
	total sim.Report
	err   error
}

func (t *tally) add(r sim.Report, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lives++
	t.total.Entries += r.Entries
	t.total.Jobs += r.Jobs
	t.total.Runs += r.Runs
	t.total.Refused += r.Refused
	t.total.Settled += r.Settled
	t.total.Days += r.Days
	for code, n := range r.Codes {
		t.total.Codes[code] += n
	}
	for kind, n := range r.Seen {
		t.total.Seen[kind] += n
	}
	if t.err == nil || errors.Is(t.err, context.Canceled) {
		t.err = err
	}
}

func run(ctx context.Context, first uint64, seeds, entries, workers int, verbose bool) error {
	keysets, err := sim.Keysets()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &tally{total: sim.Report{Codes: map[machine.Code]int{}, Seen: map[machine.EventKind]int{}}}
	queue := make(chan uint64, seeds)
	for i := range seeds {
		queue <- first + uint64(i)
	}
	close(queue)
	began := time.Now()
	var all sync.WaitGroup
	for range max(1, workers) {
		all.Go(func() {
			for seed := range queue {
				r, err := sim.Run(ctx, sim.Config{Seed: seed, Entries: entries, Keysets: keysets})
				t.add(r, err)
				if err != nil {
					cancel()
					return
				}
				t.progress(seeds, began)
			}
		})
	}
	all.Wait()
	if t.err != nil {
		return t.err
	}
	if verbose {
		fmt.Printf("%+v\n", t.total)
	}
	fmt.Printf("sim: %d seeds x %d entries, %d jobs, all invariants hold (%d runs, %d settlements on the way, %d days, %d entries refused; %v)\n",
		seeds, entries, t.total.Jobs, t.total.Runs, t.total.Settled, t.total.Days, t.total.Refused, time.Since(began).Round(time.Second))
	return nil
}

// progress says now and then how far it has come.
func (t *tally) progress(seeds int, began time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lives%20 == 0 && t.lives < seeds {
		fmt.Printf("sim: %d of %d seeds, %d entries, %d jobs, %v\n", t.lives, seeds, t.total.Entries, t.total.Jobs, time.Since(began).Round(time.Second))
	}
}
