// Package fake is a driver that runs nothing, on a clock that its owner turns.
package fake

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/watch"
)

// Behaviour is what a fake task does once started.
type Behaviour struct {
	RunFor     time.Duration // of time not frozen, until it ends by itself; negative: never
	Exit       drivers.Exit  // how it then ends
	IgnoreTerm bool          // SIGTERM does not end it, only SIGKILL does
	Usage      drivers.Usage
}

// Config is optional in all its parts.
type Config struct {
	Start   int64                        // of the clock; 0 means one hour after boot
	Behave  func(drivers.Task) Behaviour // nil: Argv says, see Parse
	Missing []drivers.Limit              // limits that it cannot set
	Devices bool                         // takes devices by their CDI names, whatever they are
	Disk    bool                         // tasks can be suspended to it
	Moves   string                       // and go on by other drivers that say the same; "": they cannot
	Changed func(status drivers.Status)  // called with each change, in order, from the goroutine that caused it; nil: nobody
}

// Driver implements drivers.Driver. Nothing happens by itself but by calls and by Set.
type Driver struct {
	config Config
	hub    watch.Hub

	mu    sync.Mutex
	now   int64
	tasks map[string]*task
	order []string // of starting, so that equal deadlines have an order
}

type task struct {
	driver    *Driver
	spec      drivers.Task
	behaviour Behaviour
	status    drivers.Status
	until     int64 // end of the lease, 0: none
	byControl bool
	byLease   bool
	onDisk    bool
	frozenAt  int64 // by the lease
	ran       int64 // ns not frozen before since
	since     int64 // running since; 0: not running
	killAt    int64
}

// New makes a driver without tasks.
func New(config Config) *Driver {
	if config.Start == 0 {
		config.Start = int64(time.Hour)
	}
	if config.Behave == nil {
		config.Behave = Parse
	}
	return &Driver{config: config, now: config.Start, tasks: map[string]*task{}}
}

// Parse reads a behaviour from a task's command: "exit CODE", "run DURATION CODE", "block", "stubborn" (blocks and ignores SIGTERM).
func Parse(t drivers.Task) Behaviour {
	if t.Hold {
		return Behaviour{RunFor: -1}
	}
	fail := Behaviour{Exit: drivers.Exit{Code: 127, Cause: drivers.CauseStartFailed, Message: "execute " + t.Argv[0] + ": not a fake command"}}
	number := func(i int) (int, bool) {
		if i >= len(t.Argv) {
			return 0, false
		}
		n, err := strconv.Atoi(t.Argv[i])
		return n, err == nil
	}
	switch t.Argv[0] {
	case "exit":
		if code, ok := number(1); ok {
			return Behaviour{Exit: drivers.Exit{Code: code, Cause: drivers.CauseExited}}
		}
	case "run":
		code, ok := number(2)
		if !ok {
			return fail
		}
		if d, err := time.ParseDuration(t.Argv[1]); err == nil {
			return Behaviour{RunFor: d, Exit: drivers.Exit{Code: code, Cause: drivers.CauseExited}}
		}
	case "block":
		return Behaviour{RunFor: -1}
	case "stubborn":
		return Behaviour{RunFor: -1, IgnoreTerm: true}
	}
	return fail
}

// Run only waits: the fake needs no goroutine of its own.
func (d *Driver) Run(ctx context.Context) error {
	<-ctx.Done()
	d.hub.Close()
	return nil
}

// Now is the driver's clock, in place of CLOCK_BOOTTIME.
func (d *Driver) Now() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// Advance turns the clock by a duration.
func (d *Driver) Advance(by time.Duration) { d.Set(d.Now() + int64(by)) }

// Set turns the clock to a time, and does what falls due on the way, in the order of its time. It never goes back.
func (d *Driver) Set(now int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		next := now
		var due *task
		for _, id := range d.order {
			if at, ok := d.tasks[id].nextDeadline(); ok && at <= now && (due == nil || at < next) {
				next, due = at, d.tasks[id]
			}
		}
		if due == nil {
			d.now = max(d.now, now)
			return
		}
		d.now = max(d.now, next)
		due.timePassed()
	}
}

// End makes a running task end, as its program would.
func (d *Driver) End(id string, exit drivers.Exit) error {
	return d.with(id, func(t *task) error {
		if t.status.State.Final() {
			return drivers.ErrEnded
		}
		t.end(drivers.StateExited, exit)
		return nil
	})
}

// Lose makes a task's shim die.
func (d *Driver) Lose(id string) error {
	return d.with(id, func(t *task) error {
		if t.status.State.Final() {
			return drivers.ErrEnded
		}
		t.end(drivers.StateLost, drivers.Exit{Code: 125, Cause: drivers.CauseShimLost})
		return nil
	})
}

func (d *Driver) with(id string, do func(*task) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tasks[id]
	if t == nil {
		return fmt.Errorf("task %q: %w", id, drivers.ErrNoTask)
	}
	if err := do(t); err != nil {
		return fmt.Errorf("task %q: %w", id, err)
	}
	return nil
}

func (d *Driver) publish(t *task) {
	s := t.snapshot()
	d.hub.Publish(s)
	if d.config.Changed != nil {
		d.config.Changed(s)
	}
}

func (t *task) snapshot() drivers.Status {
	s := t.status
	s.Frozen = slices.Clone(s.Frozen)
	s.Missing = slices.Clone(s.Missing)
	return s
}
