// Package executor knows how one machine runs what it was told to run, and for how long it truly ran.
package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/executor/wire"
)

// Config is what an executor needs. Zero values mean the defaults that the comments name.
type Config struct {
	Dir     string                    // its folder, absolute; made if missing
	Name    string                    // of the node
	Pool    string                    // that the node joins
	Labels  map[string]string         // of the node
	Version string                    // of this program
	Drivers map[string]drivers.Driver // by name
	Absent  map[string]string         // drivers that there are, but not on this machine, and why

	Servers []string                                                    // host:port of cluster ports, tried in turn
	Dial    func(ctx context.Context, address string) (net.Conn, error) // with mutual TLS done
	// Connect is used instead of Dial if set: by what connects servers and executors within one process.
	Connect func(ctx context.Context, address string, node wire.NodeServer) (*wire.Link, error)

	CPUMilli    int64 // offered; more than there is, is allowed. Default: what there is
	MemoryBytes int64 // default: what there is
	DiskBytes   int64 // default: what is free below Dir

	Shares []string // folders that this machine has in common with others, for tasks to work in

	GPUs     gpu.Provider // nil: this machine has none
	GPUSpecs string       // the folder of its CDI specs
	NoGPUs   string       // why there are none, for people

	User      string // whom tasks run as where the pool names nobody; default coinop-task. Counts for root only
	StopTasks bool   // when Run is told to stop: end all tasks, uncharged, instead of leaving them running

	StoreBytes     int64         // of inputs kept for the next task; default 10 GiB
	OutputBytesMax int64         // of one run's outputs together; default 10 GiB
	PidsMax        int64         // where the spec has none; default 4096
	FilesMax       int64         // where the spec has none; default 1024
	LeaseGrace     time.Duration // frozen by its lease this long a task is killed, where the spec has none; default 24 h
	Heartbeat      time.Duration // at least so often a report is sent; default 10 s
	StopWait       time.Duration // how long StopTasks waits for the servers to take note; default 10 s
	Workers        int           // runs being prepared at once, and as many being wound up; default 4 for each CPU

	Boot func() int64 // CLOCK_BOOTTIME in ns; default: the machine's
	Log  *slog.Logger // default: slog.Default()

	Ready func() // told once, when the servers have taken note of a driver that can be used here; may be nil

	step func(run uint64, step string) error // tests stop the world here
}

const (
	defaultUser       = "coinop-task"
	defaultStoreBytes = 10 << 30
	defaultOutputs    = 10 << 30
	defaultPids       = 4096
	defaultFiles      = 1024
	defaultGrace      = 24 * time.Hour
	defaultHeartbeat  = 10 * time.Second
	defaultStopWait   = 10 * time.Second
	workersPerCPU     = 4
)

const nodeNameMax = 63

// nodeName has no counted repetition: every command would compile that when it starts.
var nodeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// Executor makes a machine run the whole set of tasks it was told to, and reports what is.
type Executor struct {
	config Config
	log    *slog.Logger
	layout layout
	store  *store
	boot   string // id of the machine's present boot
	users  users

	prepare chan struct{} // slots of runs being prepared
	windUp  chan struct{} // and of runs whose files are being collected
	renew   chan struct{} // told when leases may need to be written
	send    chan struct{} // told when there is something to report

	diskNews chan struct{} // told when the disk did not take something
	gpuNews  chan struct{} // told when the GPUs may not be as they were
	wg       sync.WaitGroup

	describing sync.Mutex // the last description is the one that counts
	ready      sync.Once  // Ready was told

	mu      sync.Mutex // guards all below
	seen    seen
	seenIn  *os.File
	runs    map[uint64]*run
	dirty   map[uint64]*run  // to be reported
	emptied chan struct{}    // closed when a leaving executor has no run left
	empty   bool             // emptied is closed
	lease   int64            // boot time at which the granted lease ends
	link    *wire.Link       // nil: no leader answers just now
	linked  chan struct{}    // closed when link changes
	own     *wire.NodeFacts  // the facts but for GPUs, and for what cannot be had now; nil: not known yet
	facts   *wire.NodeFacts  // as they are told
	gpus    gpus             // what the provider of GPUs says
	offers  map[string]offer // what is known of each driver
	leaving bool
	told    []string // the servers' cluster ports, as the last leader has told
	ill     string   // why nothing can be written to the disk; empty: it can
	clock   clock
	shared  []string // of config.Shares, those that are there
	apart   []string // and why others are not
}

// clock turns this machine's boot time into cluster time, for what tasks are told.
type clock struct{ boot, unixMillis int64 }

// New checks config and does nothing.
func New(config Config) (*Executor, error) {
	if !filepath.IsAbs(config.Dir) {
		return nil, fmt.Errorf("executor: folder %q is not an absolute path", config.Dir)
	}
	if len(config.Name) > nodeNameMax || !nodeName.MatchString(config.Name) {
		return nil, fmt.Errorf("executor: node name %q: want lower-case letters, digits, dots and dashes, at most 63", config.Name)
	}
	for name, value := range config.Labels {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("executor: label %q=%q is no text", name, value)
		}
	}
	if len(config.Drivers) == 0 {
		return nil, errors.New("executor: no driver")
	}
	if len(config.Servers) == 0 || config.Dial == nil && config.Connect == nil {
		return nil, errors.New("executor: no server to connect to")
	}
	if min(config.CPUMilli, config.MemoryBytes, config.DiskBytes) < 0 {
		return nil, errors.New("executor: a machine cannot offer less than nothing")
	}
	if err := checkShares(config.Shares); err != nil {
		return nil, err
	}
	config.fill()
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	e := &Executor{
		config: config, log: config.Log.With("node", config.Name), layout: layout{config.Dir}, boot: boot,
		prepare: make(chan struct{}, config.Workers), windUp: make(chan struct{}, config.Workers),
		renew: make(chan struct{}, 1), send: make(chan struct{}, 1), diskNews: make(chan struct{}, 1),
		gpuNews: make(chan struct{}, 1),
		offers:  map[string]offer{}, runs: map[uint64]*run{}, dirty: map[uint64]*run{}, emptied: make(chan struct{}), linked: make(chan struct{}),
	}
	e.store = newStore(e.layout.store(), config.StoreBytes)
	return e, nil
}

func (c *Config) fill() {
	or := func(value *int64, otherwise int64) {
		if *value == 0 {
			*value = otherwise
		}
	}
	or(&c.StoreBytes, defaultStoreBytes)
	or(&c.OutputBytesMax, defaultOutputs)
	or(&c.PidsMax, defaultPids)
	or(&c.FilesMax, defaultFiles)
	or((*int64)(&c.LeaseGrace), int64(defaultGrace))
	or((*int64)(&c.Heartbeat), int64(defaultHeartbeat))
	or((*int64)(&c.StopWait), int64(defaultStopWait))
	if c.Workers == 0 {
		c.Workers = workersPerCPU * runtime.NumCPU()
	}
	if c.User == "" {
		c.User = defaultUser
	}
	if c.Boot == nil {
		c.Boot = bootTime
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Connect == nil {
		dial := c.Dial
		c.Connect = func(ctx context.Context, address string, node wire.NodeServer) (*wire.Link, error) {
			conn, err := dial(ctx, address)
			if err != nil {
				return nil, fmt.Errorf("dial: %w", err)
			}
			return wire.Connect(conn, node)
		}
	}
	if c.Ready == nil {
		c.Ready = func() {}
	}
	if c.step == nil {
		c.step = func(uint64, string) error { return nil }
	}
	c.Servers = slices.Clone(c.Servers)
	c.Shares = slices.Compact(slices.Sorted(slices.Values(c.Shares)))
}

// Run adopts what earlier executors of this folder left running, then follows the servers until ctx ends. Tasks live on
// afterwards unless StopTasks is set. It returns an error only if it cannot work at all.
func (e *Executor) Run(ctx context.Context) error {
	lock, err := e.layout.open()
	if err != nil {
		return fmt.Errorf("open executor's folder: %w", err)
	}
	defer lock.Close()
	e.clock = clock{boot: e.config.Boot(), unixMillis: time.Now().UnixMilli()} // until the servers tell theirs
	if err := e.users.reach(e.layout.runs(), e.config.User); err != nil {
		return err
	}
	if err := e.openServers(); err != nil {
		return err
	}
	if err := e.openSeen(); err != nil {
		return err
	}
	defer e.seenIn.Close()
	if err := e.store.open(); err != nil {
		return fmt.Errorf("open store of inputs: %w", err)
	}
	// What is under way must outlive ctx for as long as StopTasks needs.
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer e.wg.Wait()
	defer cancel()
	if err := e.adoptAll(live); err != nil {
		return fmt.Errorf("adopt tasks: %w", err)
	}
	for name, driver := range e.config.Drivers {
		e.wg.Go(func() { e.watch(live, name, driver) })
	}
	if e.config.GPUs != nil {
		e.wg.Go(func() { e.keepGPUs(live) })
		e.wg.Go(func() { e.heedGPUs(live) })
		e.wg.Go(func() { e.meterGPUs(live) })
	}
	e.startShares(live)
	e.wg.Go(func() { e.keepLeases(live) })
	e.wg.Go(func() { e.keepDisk(live) })
	e.wg.Go(func() { e.connect(live) })
	<-ctx.Done()
	if e.config.StopTasks {
		e.leave(live)
	}
	return nil
}

// adoptAll takes over the runs whose folders are there.
func (e *Executor) adoptAll(ctx context.Context) error {
	found, err := e.layout.list()
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, j := range found {
		if j.damage != nil {
			e.log.Error("a run's journal is damaged; what can still be read of it counts", "run", j.id, "error", j.damage)
		}
		if j.task == "" {
			j.task = taskName(e.seen.Cluster, j.id)
		}
		r := newRun(e, j.id)
		r.journal, r.adopted, r.cards = j, true, j.gpus
		r.end = j.end // reported again until the servers have taken note
		e.runs[j.id] = r
		e.wg.Go(func() { r.live(ctx) })
	}
	return nil
}

// leave ends all tasks and waits until the servers have taken note, or StopWait has passed.
func (e *Executor) leave(ctx context.Context) {
	e.mu.Lock()
	e.leaving = true
	for _, r := range e.runs {
		r.leave()
	}
	e.checkEmpty()
	e.mu.Unlock()
	poke(e.send)
	patience := time.NewTimer(e.config.StopWait)
	defer patience.Stop()
	select {
	case <-e.emptied:
	case <-patience.C:
		e.log.Warn("stopping before the servers have taken note of every ended task; they are reported at the next start")
	case <-ctx.Done():
	}
}

// gone takes a forgotten run out of the books.
func (e *Executor) gone(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.runs, r.id)
	delete(e.dirty, r.id)
	e.checkEmpty()
}

// checkEmpty tells leave when it may go. The caller holds mu.
func (e *Executor) checkEmpty() {
	if e.leaving && len(e.runs) == 0 && !e.empty {
		e.empty = true
		close(e.emptied)
	}
}

// all returns the runs of this moment.
func (e *Executor) all() []*run {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]*run, 0, len(e.runs))
	for _, r := range e.runs {
		list = append(list, r)
	}
	return list
}

// clusterTime is what the servers' clock shows at the given boot time, as far as this machine can tell.
func (e *Executor) clusterTime(boot int64) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.clock.unixMillis + (boot-e.clock.boot)/int64(time.Millisecond)
}

// poke tells the reader of a channel of size one that something has changed; told already is told.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// noEnd stands for "never" among boot times.
const noEnd = int64(math.MaxInt64)
