package inproc

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/fake"
	"github.com/coinop/coinop/executor"
	"github.com/coinop/coinop/executor/identity"
)

// Executor is one machine with a fake driver, whether its agent runs or not. Its tasks live on without it.
type Executor struct {
	Name   string
	Driver *fake.Driver
	Config executor.Config // of the next start

	cluster *Cluster
	cancel  context.CancelFunc
	done    chan error

	writes func(drivers.Task) // what tasks write when they start; nil: nothing

	mu     sync.Mutex
	skew   time.Duration
	starts map[uint64]int
	states map[uint64]drivers.State
}

// cpusOf each executor.
const cpusOf = 4

// AddExecutor lets another machine join, and waits until work can be placed there.
func (c *Cluster) AddExecutor() *Executor {
	c.T.Helper()
	name := fmt.Sprintf("e%d", len(c.Executors))
	e := &Executor{Name: name, cluster: c, starts: map[uint64]int{}, states: map[uint64]drivers.State{}}
	e.Driver = fake.New(fake.Config{Start: e.boot(), Behave: e.behave, Changed: e.changed, Disk: c.disks, Moves: "fake"})
	var servers []string
	for _, s := range c.Servers {
		servers = append(servers, s.Config.Cluster)
	}
	host := c.Mesh.Host(name)
	id, err := identity.Join(c.T.Context(), identity.JoinConfig{
		Dir: filepath.Join(c.dir, name), Servers: servers, Token: c.joinToken("executor"), Name: name, Pool: "default", Dial: host.Dial,
	})
	if err != nil {
		c.T.Fatal(err)
	}
	e.Config = executor.Config{
		Dir: filepath.Join(c.dir, "agent-"+name), Name: name, Pool: "default", Version: "test", User: "nobody", Servers: servers,
		Drivers:  map[string]drivers.Driver{"process": e.Driver},
		CPUMilli: cpusOf * 1000, MemoryBytes: 64 << 30, Boot: e.boot, Log: c.log(name),
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := id.DialBy(ctx, host.Dial, []string{addr})
			if err != nil {
				return nil, err
			}
			return heard{conn, c.steps, name, new(atomic.Bool)}, nil
		},
	}
	c.Executors = append(c.Executors, e)
	e.Start()
	c.Until(name+" is up", func() bool {
		for _, n := range c.Leader().View().Nodes() {
			if n.Name == name && n.Has.CPUMilli > 0 {
				return true
			}
		}
		return false
	})
	return e
}

// boot is the machine's CLOCK_BOOTTIME, which its driver's clock follows.
func (e *Executor) boot() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return int64(time.Hour+e.skew) + int64(time.Since(e.cluster.began))
}

// Sleep lets the machine's clock jump ahead, as one that slept sees it.
func (e *Executor) Sleep(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.skew += d
}

func (e *Executor) behave(t drivers.Task) fake.Behaviour {
	b := fake.Parse(t)
	b.Usage = drivers.Usage{CPUMillis: 5, MemoryPeakBytes: 1 << 20}
	if run, ok := runOf(t.ID); ok {
		e.mu.Lock()
		e.starts[run]++
		e.mu.Unlock()
	}
	if e.writes != nil {
		e.writes(t)
	}
	return b
}

// runOf reads the run's number from the driver's name of a task.
func runOf(id string) (uint64, bool) {
	run, err := strconv.ParseUint(id[strings.LastIndexByte(id, '-')+1:], 10, 64)
	return run, err == nil
}

// Starts counts the first processes that a run had here.
func (e *Executor) Starts(run uint64) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.starts[run]
}

// Start starts the agent; its driver and its tasks are those of before.
func (e *Executor) Start() {
	e.cluster.T.Helper()
	agent, err := executor.New(e.Config)
	if err != nil {
		e.cluster.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel, e.done = cancel, make(chan error, 1)
	go func() { e.done <- agent.Run(ctx) }()
	go e.tick(ctx)
}

// tick turns the driver's clock while the agent runs.
func (e *Executor) tick(ctx context.Context) {
	ticker := time.NewTicker(e.cluster.beat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			e.Driver.Set(e.boot())
		case <-ctx.Done():
			return
		}
	}
}

// Stop ends the agent and leaves its tasks alone.
func (e *Executor) Stop() {
	if e.cancel == nil {
		return
	}
	e.cancel()
	if err := <-e.done; err != nil {
		e.cluster.T.Errorf("%s ended with: %v", e.Name, err)
	}
	e.cancel = nil
}

// Running says whether a run has a process here that is not frozen.
func (e *Executor) Running(run uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.states[run] == drivers.StateRunning
}

func (e *Executor) changed(s drivers.Status) {
	if run, ok := runOf(s.ID); ok {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.states[run] = s.State
	}
}
