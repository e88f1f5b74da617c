package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/fake"
	"github.com/coinop/coinop/executor"
	"github.com/coinop/coinop/executor/identity"
	"github.com/coinop/coinop/executor/wire"
)

const (
	joinsAtOnce = 16
	joinTries   = 30
	joinTerm    = 30 * time.Second // of a join token: used ones count until then among the tokens that there may be
	dialsAtOnce = 32               // the machines have their processors from one: waiting for it is not theirs
	dialIn      = 5 * time.Second
	crowdMost   = 5000                   // executors of a process: each has three descriptors open
	crowdTells  = 200 * time.Millisecond // how often a crowd says how it is
)

// crowdConfig is what a process of executors is told.
type crowdConfig struct {
	Dir         string   // of all of them; in memory, since each machine has a disk of its own
	API         []string // where join tokens are made
	Token       string   // with this one of an operator's
	Servers     []string // cluster ports
	First, Last int      // numbers of executors, the last one not among them
}

// crowdState is what it says of them.
type crowdState struct {
	Joined int
	Leased map[uint64]int // how many have a stream with a lease, by its term
	Gap    time.Duration  // the longest that one of them was without an answer that renewed its lease
	CPU    time.Duration  // that the process has used
	Failed string
}

// most is how many have leases of the same leader, at most.
func (s crowdState) most() int {
	most := 0
	for _, n := range s.Leased {
		most = max(most, n)
	}
	return most
}

// crowd is many real executors in one process, whose driver runs nothing.
type crowd struct {
	config  crowdConfig
	dialing chan struct{}

	mu     sync.Mutex // guards all below
	joined int
	leases map[int]leased
	gap    time.Duration
}

// leased is the newest lease of an executor.
type leased struct {
	term uint64 // zero: its stream is broken
	at   time.Time
}

// serveCrowd is the process: it reads its configuration from in and says how it is on out until in ends.
func serveCrowd(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the crowd's configuration: %w", err)
	}
	c := &crowd{leases: map[int]leased{}, dialing: make(chan struct{}, dialsAtOnce)}
	if err := json.Unmarshal(line, &c.config); err != nil {
		return fmt.Errorf("read the crowd's configuration: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		stop()
	}()
	failed := make(chan error, 1)
	go func() { failed <- c.run(ctx) }()
	tick := time.NewTicker(crowdTells)
	defer tick.Stop()
	for {
		select {
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return errors.Join(err, c.tell(out, err))
		case <-tick.C:
			if err := c.tell(out, nil); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

func (c *crowd) tell(out io.Writer, failed error) error {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return fmt.Errorf("read the crowd's processor time: %w", err)
	}
	s := crowdState{Leased: map[uint64]int{}, CPU: time.Duration(used.Utime.Nano() + used.Stime.Nano())}
	if failed != nil {
		s.Failed = failed.Error()
	}
	c.mu.Lock()
	s.Joined, s.Gap = c.joined, c.gap
	for _, l := range c.leases {
		if l.term != 0 {
			s.Leased[l.term]++
		} else {
			s.Gap = max(s.Gap, time.Since(l.at))
		}
	}
	c.mu.Unlock()
	return json.NewEncoder(out).Encode(s)
}

// run lets all of them join, some at once, and then serve.
func (c *crowd) run(ctx context.Context) error {
	api, err := client.New(client.Config{Servers: c.config.API, Token: c.config.Token, Patience: time.Minute})
	if err != nil {
		return err
	}
	defer api.CloseIdle()
	group, ctx := errgroup.WithContext(ctx)
	joining := make(chan struct{}, joinsAtOnce)
	for i := c.config.First; i < c.config.Last; i++ {
		joining <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			agent, err := c.join(ctx, api, i)
			<-joining
			if err != nil {
				return err
			}
			return agent.Run(ctx)
		})
	}
	return group.Wait()
}

// join makes executor i a member of the cluster.
func (c *crowd) join(ctx context.Context, api *client.Client, i int) (*executor.Executor, error) {
	name := fmt.Sprintf("e%05d", i)
	dir := filepath.Join(c.config.Dir, name)
	id, err := c.identify(ctx, api, name, filepath.Join(dir, "identity"))
	for try := 1; err != nil && try < joinTries && rest(ctx, time.Second) == nil; try++ { // the servers may look for a leader
		id, err = c.identify(ctx, api, name, filepath.Join(dir, "identity"))
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.joined++
	c.mu.Unlock()
	config := executor.Config{
		Dir: dir, Name: name, Pool: "default", Version: "bench", User: "nobody", Servers: c.config.Servers,
		Drivers:  map[string]drivers.Driver{"process": quick()},
		CPUMilli: 4000, MemoryBytes: 8 << 30, DiskBytes: 100 << 30, Workers: 1,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	config.Connect = func(ctx context.Context, addr string, node wire.NodeServer) (*wire.Link, error) {
		conn, err := c.dial(ctx, id, addr)
		if err != nil {
			return nil, err
		}
		link, err := wire.Connect(conn, node)
		if err == nil {
			link.Servers = overheard{link.Servers, func(d *wire.Desired) { c.heard(i, d) }}
		}
		return link, err
	}
	return executor.New(config)
}

// identify lets a machine in, with a token of its own.
func (c *crowd) identify(ctx context.Context, api *client.Client, name, dir string) (*identity.Identity, error) {
	token, err := api.CreateToken(ctx, client.TokenRequest{Role: "executor", TTLMs: joinTerm.Milliseconds()})
	if err != nil {
		return nil, err
	}
	return identity.Join(ctx, identity.JoinConfig{Dir: dir, Servers: c.config.Servers, Token: token.Token, Name: name, Pool: "default"})
}

// dial calls a server as an executor would that has a processor of its own.
func (c *crowd) dial(ctx context.Context, id *identity.Identity, addr string) (net.Conn, error) {
	c.dialing <- struct{}{}
	defer func() { <-c.dialing }()
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), dialIn)
	defer stop()
	return id.Dial(ctx, []string{addr})
}

// quick is a driver whose tasks end as soon as they have started.
func quick() *fake.Driver {
	var d *fake.Driver
	d = fake.New(fake.Config{Start: bootTime(), Changed: func(s drivers.Status) {
		if !s.State.Final() {
			go d.Advance(time.Millisecond)
		}
	}})
	return d
}

// bootTime is the machine's, by which executors' leases end.
func bootTime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(fmt.Sprintf("CLOCK_BOOTTIME: %v", err)) // every Linux since 2.6.39 has it
	}
	return t.Nano()
}

// heard takes note of a set that an executor has heard, and of the end of its stream.
func (c *crowd) heard(i int, d *wire.Desired) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.leases[i]
	switch {
	case d == nil && l.at.IsZero():
	case d == nil:
		c.leases[i] = leased{at: l.at}
	case d.GetLeaseMs() > 0:
		now := time.Now()
		if !l.at.IsZero() {
			c.gap = max(c.gap, now.Sub(l.at))
		}
		c.leases[i] = leased{d.GetTerm(), now}
	}
}

// overheard are the servers as an executor calls them.
type overheard struct {
	wire.ServersClient
	heard func(*wire.Desired)
}

func (o overheard) Sync(ctx context.Context, more ...grpc.CallOption) (grpc.BidiStreamingClient[wire.Report, wire.Desired], error) {
	s, err := o.ServersClient.Sync(ctx, more...)
	if err != nil {
		return nil, err
	}
	return overheardStream{s, o.heard}, nil
}

type overheardStream struct {
	grpc.BidiStreamingClient[wire.Report, wire.Desired]
	heard func(*wire.Desired)
}

func (o overheardStream) Recv() (*wire.Desired, error) {
	d, err := o.BidiStreamingClient.Recv()
	if err != nil {
		o.heard(nil)
	} else {
		o.heard(d)
	}
	return d, err
}

// crowds are the processes, as the measure sees them.
type crowds struct {
	mu     sync.Mutex
	states []crowdState // guarded by mu
	ends   []func() error
}

// start starts as many processes as the executors from first to last need.
func (c *crowds) start(config crowdConfig, first, last int) error {
	for ; first < last; first += crowdMost {
		config.First, config.Last = first, min(last, first+crowdMost)
		if err := c.startOne(config); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowds) startOne(config crowdConfig) error {
	cmd := exec.Command(os.Args[0], "-crowd")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start executors: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start executors: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start executors: %w", err)
	}
	c.mu.Lock()
	n := len(c.states)
	c.states = append(c.states, crowdState{})
	c.mu.Unlock()
	read := make(chan struct{})
	go func() {
		defer close(read)
		for d := json.NewDecoder(out); ; {
			var s crowdState
			if d.Decode(&s) != nil {
				return // it has ended
			}
			c.mu.Lock()
			c.states[n] = s
			c.mu.Unlock()
		}
	}()
	c.ends = append(c.ends, func() error {
		err := in.Close()
		<-read
		return errors.Join(err, cmd.Wait())
	})
	return json.NewEncoder(in).Encode(config)
}

// state is all of them together.
func (c *crowds) state() (crowdState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := crowdState{Leased: map[uint64]int{}}
	var failed []string
	for _, s := range c.states {
		all.Joined += s.Joined
		all.CPU += s.CPU
		all.Gap = max(all.Gap, s.Gap)
		for term, n := range s.Leased {
			all.Leased[term] += n
		}
		if s.Failed != "" {
			failed = append(failed, s.Failed)
		}
	}
	if failed != nil {
		return all, errors.New(strings.Join(failed, "; "))
	}
	return all, nil
}

// stop ends them.
func (c *crowds) stop() error {
	var failed []error
	for _, end := range c.ends {
		failed = append(failed, end())
	}
	return errors.Join(failed...)
}
