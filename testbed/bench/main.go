// Command bench measures coinop against its bars, each beside references measured in the same run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/coinop/coinop/testbed/cluster"
)

func main() {
	names := flag.String("run", "", "only measures whose name matches this expression")
	rounds := flag.Int("rounds", 5, "how often each is measured; medians are printed")
	binary := flag.String("coinop", "", "a built coinop; without it one is built from here")
	jobs := flag.Int("jobs", 1_000_000, "how many jobs live where that matters, and a tenth as many entries are caught up with")
	nodes := flag.Int("nodes", 10_000, "how many executors are idle")
	pull := flag.Int("pull", 500, "how many MiB the image has that is pulled")
	crowded := flag.Bool("crowd", false, "be executors, as standard input says, for the measure idle")
	bare := flag.String("bare", "", "be the bare HTTP server on this address, for the measure http")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := error(nil)
	switch {
	case *bare != "":
		err = serveBare(ctx, *bare)
	case *crowded:
		err = serveCrowd(ctx, os.Stdin, os.Stdout)
	default:
		err = run(ctx, os.Stdout, *names, bench{binary: *binary, rounds: *rounds, jobs: *jobs, nodes: *nodes, pull: *pull})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	dir    string // short: sockets lie below it
	binary string
	rounds int
	jobs   int
	nodes  int
	pull   int // MiB
}

// reading is one number of one round.
type reading struct {
	what, unit string
	value      float64
}

// bar is what the first reading of a measure has to reach.
type bar struct {
	value float64
	least bool // it is the least that is allowed, not the most
}

// measure is something measured in rounds. The first reading of a round is ours, those after it with the same unit
// are references.
type measure struct {
	name, what string
	bar        bar
	read       func(context.Context, *bench) ([][]reading, error)
}

func measures() []measure {
	return []measure{
		{"http", "submissions over HTTP, one job a request, 64 connections of another process, one pot", bar{15000, true}, readHTTP},
		{"group", "the same with three servers, sent to the leader", bar{8000, true}, readGroup},
		{"p50", "a submission's latency at half of the load that one server takes, median", bar{2, false}, readLatency(50)},
		{"p99", "the same, of the slowest hundredth the fastest", bar{10, false}, readLatency(99)},
		{"flood", "a paying client's median latency beside floods from other addresses, against alone", bar{2, false}, readFlood},
		{"polls", "submissions over HTTP beside 500 status polls a second, against alone", bar{20, false}, readPolls},
		{"queue", "100 jobs of one owner by their label, out of a queue of 100,000, over HTTP and read", bar{5, false},
			goBench("./api", "^BenchmarkQueueOfOne$", "BenchmarkQueueOfOne/label ms", 1, "BenchmarkQueueOfOne/tenth ms", "BenchmarkQueueOfOne/pot ms", "BenchmarkQueueOfOne/all ms")},
		{"noop", "no-op tasks from submission to settled receipt, on a node that claims 256 CPUs, limits on", bar{600, true}, readNoOp},
		{"submit", "one `coinop submit` as a process, paid with coins", bar{15, false}, readSubmit},
		{"failover", "from kill -9 of the leader of three under load to the next accepted submission", bar{2, false}, readFailover},
		{"restart", "from kill -9 of a server with a million live jobs to its next accepted submission", bar{10, false}, readRestart},
		{"saving", "the longest that a submission waits while the state of a million live jobs is saved", bar{100, false}, readSaving},
		{"catchup", "a server of three that was away for 100,000 entries, from its start until it has them", bar{5, false}, readCatchUp},
		{"idle", "processor time of the leader of three servers for ten thousand executors that have nothing to do", bar{0.5, false}, readIdle},
		{"place", "Place of 100,000 jobs of one task in 50 shapes on 5,000 empty nodes: 40,000 placements", bar{50, false},
			goBench("./scheduler", "^BenchmarkPlaceEmptyJobs$", "BenchmarkPlaceEmptyJobs ms", 1e-6)},
		{"change", "Place after one change, the same cluster", bar{1, false},
			goBench("./scheduler", "^BenchmarkPlaceOneChange$", "BenchmarkPlaceOneChange ms", 1e-6)},
		{"heap", "heap per pot-paid job with a command of 300 bytes", bar{1024, false},
			goBench("./consensus/machine", "^BenchmarkHeapPerJob$", "BenchmarkHeapPerJob B/job", 1)},
		{"reprice", "a reprice with a million runs of which a thousand run dry, one entry", bar{5, false},
			goBench("./consensus/machine", "^BenchmarkReprice$", "BenchmarkReprice ms", 1e-6)},
		{"view", "a view of a million records", bar{1, false},
			goBench("./consensus/machine", "^BenchmarkView$", "BenchmarkView ms", 1e-6)},
		{"shim", "starts through the process driver with limits", bar{600, true},
			goBench("./drivers/process", "^BenchmarkStart$", "BenchmarkStart/limits=true tasks/s", 1, "BenchmarkStart/reference tasks/s")},
		{"container", "from Start of a container of an image that is there to its first output", bar{60, false},
			goBench("./drivers/container", "^BenchmarkStart$", "BenchmarkStart/ours ms", 1, "BenchmarkStart/crun ms")},
		{"vm", "from Start of a virtual machine of an image that is there to its first output, emulated where the processor does not help", bar{2500, false},
			goBench("./drivers/vm", "^BenchmarkStart$", "BenchmarkStart/ours ms", 1, "BenchmarkStart/qemu ms")},
		{"boxes", "no-op tasks in containers from submission to settled receipt, limits on", bar{60, true}, readNoOpContainers},
		{"memory", "agent, plugins and shims with 500 running tasks, half of them in containers: 150 MiB and 1 MiB a task", bar{650, false}, readMemory},
		{"pull", "an image in ten layers from a registry on loopback into an empty store, against cp and tar -xz of them", bar{2, false}, readPull},
		{"payment", "a payment of five coins and ten blanks to its signed change, on one core: 400 a second", bar{2500, false},
			goBench("./funding/mint", "^BenchmarkPayment$", "BenchmarkPayment payment-µs", 1, "BenchmarkPayment curve-µs")},
		{"timing", "whether a multiplication's time tells of its secret: Welch's t, fixed against random", bar{4.5, false},
			goBench("./funding/mint", "^BenchmarkTiming$", "BenchmarkTiming t", 1, "BenchmarkTiming leaky-t")},
	}
}

func run(ctx context.Context, out io.Writer, names string, b bench) (err error) {
	chosen, err := regexp.Compile(names)
	if err != nil {
		return fmt.Errorf("read -run: %w", err)
	}
	var todo []measure
	for _, m := range measures() {
		if chosen.MatchString(m.name) {
			todo = append(todo, m)
		}
	}
	if len(todo) == 0 {
		return fmt.Errorf("no measure matches %q", names)
	}
	if b.dir, err = cluster.TempDir("coinop-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.binary == "" {
		b.binary = filepath.Join(b.dir, "coinop")
		if err := cluster.Build(ctx, ".", b.binary); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, machine())
	for _, m := range todo {
		before := load()
		all, err := m.read(ctx, &b)
		if err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
		m.print(out, all, before)
	}
	return nil
}
