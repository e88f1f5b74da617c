package executor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/fake"
	"github.com/coinop/coinop/executor/wire"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// machine is one machine with a fake driver, on virtual time. Its tasks print what "print:" among their variables says.
type machine struct {
	t        *testing.T
	cluster  *cluster
	driver   *fake.Driver
	config   Config
	began    time.Time
	devices  []string                         // by which names its tasks get devices
	workDir  string                           // where the driver's tasks find their work folder; empty: under its own name
	describe func(*drivers.Description) error // what else the driver says of itself
	starting time.Duration                    // how long starting a task takes

	mu      sync.Mutex
	tasks   map[uint64][]drivers.Task // each start, by run
	touch   func(drivers.Task)        // does what the task would do with its folder
	refuse  map[drivers.ControlKind]error
	away    bool // the driver's process is gone
	broken  error
	lies    chan drivers.Status // what the driver says besides the truth
	doubts  []error             // what it was accused of
	watched []context.CancelFunc
	signals int
	begun   int           // starts that take their time
	leases  int           // that were written
	slow    time.Duration // how long removing a task takes
	cancel  context.CancelFunc
	done    chan error
}

// onMachine plays a story on a machine that is up and connected.
func onMachine(t *testing.T, story func(m *machine)) {
	onMachineWith(t, func(*machine) {}, story)
}

func onMachineWith(t *testing.T, prepare, story func(m *machine)) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, dir)
		prepare(m)
		m.start()
		story(m)
		m.stop()
		m.cluster.close()
	})
}

func newMachine(t *testing.T, dir string) *machine {
	m := &machine{t: t, cluster: newCluster(t), began: time.Now(), tasks: map[uint64][]drivers.Task{}}
	m.driver = fake.New(fake.Config{Behave: m.behave, Devices: true})
	m.config = Config{
		Dir: filepath.Join(dir, "executor"), Name: "n1", Pool: "default", Version: "test", User: "nobody",
		Drivers: map[string]drivers.Driver{"fake": &moody{m.driver, m}}, Servers: []string{"a:1"}, Connect: m.cluster.connect,
		CPUMilli: 4000, Boot: m.boot, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	ticking, stop := context.WithCancel(t.Context())
	var clock sync.WaitGroup
	clock.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				m.driver.Set(m.boot())
			case <-ticking.Done():
				return
			}
		}
	})
	t.Cleanup(func() { stop(); clock.Wait() })
	return m
}

// boot is the machine's CLOCK_BOOTTIME, which the driver's clock follows.
func (m *machine) boot() int64 { return int64(time.Hour) + int64(time.Since(m.began)) }

func (m *machine) behave(task drivers.Task) fake.Behaviour {
	b := fake.Parse(task)
	b.Usage = drivers.Usage{CPUMillis: 5, MemoryPeakBytes: 1 << 20}
	if id, ok := runOfTask(task.ID); ok {
		m.mu.Lock()
		m.tasks[id] = append(m.tasks[id], task)
		touch := m.touch
		m.mu.Unlock()
		if touch != nil {
			touch(task)
		}
	}
	for _, entry := range task.Env {
		if text, ok := strings.CutPrefix(entry, "print="); ok {
			b.Usage.LogBytes += int64(len(text))
			writeLog(m.t, filepath.Join(task.Dir, "stdout"), text)
		}
	}
	return b
}

// moody is the fake driver with faults that a test plants.
type moody struct {
	*fake.Driver
	machine *machine
}

func (d *moody) Describe(ctx context.Context) (drivers.Description, error) {
	if d.machine.isAway() {
		return drivers.Description{}, drivers.ErrUnavailable
	}
	can, err := d.Driver.Describe(ctx)
	can.WorkDir, can.Devices = d.machine.workDir, d.machine.devices
	if d.machine.describe != nil {
		err = errors.Join(err, d.machine.describe(&can))
	}
	return can, err
}

func (d *moody) Watch(ctx context.Context, id string) (<-chan drivers.Status, error) {
	m := d.machine
	m.mu.Lock()
	broken := m.broken
	m.broken = nil
	m.mu.Unlock()
	if broken != nil {
		return nil, broken
	}
	if m.isAway() {
		return nil, drivers.ErrUnavailable
	}
	ctx, cancel := context.WithCancel(ctx)
	m.mu.Lock()
	m.watched = append(m.watched, cancel)
	lies := m.lies
	m.mu.Unlock()
	truth, err := d.Driver.Watch(ctx, id)
	if id != "" || lies == nil || err != nil {
		return truth, err
	}
	all := make(chan drivers.Status)
	go func() {
		defer close(all)
		for {
			var s drivers.Status
			open := true
			select {
			case s, open = <-truth:
			case s = <-lies:
			}
			select {
			case all <- s:
			case <-ctx.Done():
				return
			}
			if !open {
				return
			}
		}
	}()
	return all, nil
}

// Distrust notes what the driver is accused of.
func (d *moody) Distrust(_ context.Context, why error) error {
	d.machine.mu.Lock()
	defer d.machine.mu.Unlock()
	d.machine.doubts = append(d.machine.doubts, why)
	return why
}

func (d *moody) Start(ctx context.Context, task drivers.Task) (drivers.Status, error) {
	if d.machine.isAway() {
		return drivers.Status{}, drivers.ErrUnavailable
	}
	if d.machine.starting > 0 {
		d.machine.mu.Lock()
		d.machine.begun++
		d.machine.mu.Unlock()
		if err := pause(ctx, d.machine.starting); err != nil {
			return drivers.Status{}, err
		}
	}
	return d.Driver.Start(ctx, task)
}

func (d *moody) Control(ctx context.Context, id string, c drivers.Control) error {
	if d.machine.isAway() {
		return drivers.ErrUnavailable
	}
	d.machine.mu.Lock()
	err := d.machine.refuse[c.Kind]
	if c.Kind == drivers.Signal {
		d.machine.signals++
	}
	if c.Kind == drivers.Lease {
		d.machine.leases++
	}
	d.machine.mu.Unlock()
	if err != nil {
		return err
	}
	return d.Driver.Control(ctx, id, c)
}

func (d *moody) Remove(ctx context.Context, id string) error {
	d.machine.mu.Lock()
	slow := d.machine.slow
	d.machine.mu.Unlock()
	time.Sleep(slow)
	if d.machine.isAway() {
		return drivers.ErrUnavailable
	}
	return d.Driver.Remove(ctx, id)
}

// setAway has the driver's process end, and be there again.
func (m *machine) setAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
	for _, cancel := range m.watched {
		cancel()
	}
	m.watched = nil
}

func (m *machine) isAway() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.away }

// starts says how often a run has been started.
func (m *machine) starts(run uint64) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tasks[run])
}

func (m *machine) task(run uint64) drivers.Task {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tasks[run][len(m.tasks[run])-1]
}

// start starts an executor; the driver and its tasks are those of before.
func (m *machine) start() {
	m.t.Helper()
	e, err := New(m.config)
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.done = cancel, make(chan error, 1)
	go func() {
		err := e.Run(ctx)
		if err != nil {
			m.t.Errorf("the executor ended with: %v", err)
		}
		m.done <- err
	}()
}

func (m *machine) stop() {
	m.t.Helper()
	m.cancel()
	<-m.done
}

func (m *machine) restart() { m.stop(); m.start() }

// wait lets virtual time pass.
func (m *machine) wait(d time.Duration) {
	time.Sleep(d) // of the bubble, which takes no time
	synctest.Wait()
}

// folder of a run.
func (m *machine) folder(run uint64) string {
	return layout{m.config.Dir}.run(run)
}

func (m *machine) awaitFolderGone(run uint64) {
	m.t.Helper()
	m.wait(time.Second)
	if _, err := os.Lstat(m.folder(run)); !os.IsNotExist(err) {
		m.t.Errorf("the folder of run %d is still there: %v", run, err)
	}
}

// running is an order to run a command of the fake driver.
func running(run uint64, argv ...string) *wire.Order {
	return &wire.Order{Run: run, Version: 1, Want: wire.Want_WANT_RUN, Spec: &wire.Spec{
		Job: 12, Task: 3, Name: "render", Pool: "default", Driver: "fake", Argv: argv, CpuMilli: 1500, MemoryBytes: 1 << 30,
	}}
}

// but returns a copy of an order with a higher version, changed.
func but(o *wire.Order, change func(*wire.Order)) *wire.Order {
	next := &wire.Order{Run: o.GetRun(), Version: o.GetVersion() + 1, Want: o.GetWant(), Spec: o.GetSpec()}
	change(next)
	return next
}

// writeLog writes a small log as a shim does.
func writeLog(t *testing.T, path, text string) {
	head := make([]byte, 0, 64+len(text))
	for _, n := range []uint64{0x676f6c706f6f63, 1, 1 << 20, 15 << 20, 15<<20 + 65536, uint64(len(text)), 0, 0} {
		head = binary.LittleEndian.AppendUint64(head, n)
	}
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err = errors.Join(err, os.WriteFile(path, append(head, text...), 0o600)); err != nil {
		t.Error(err)
	}
}

// expectEnd fails the test unless the run ended so.
func expectEnd(t *testing.T, s *wire.RunStatus, cause wire.Cause, code int32) {
	t.Helper()
	if s.GetEnd().GetCause() != cause || s.GetEnd().GetCode() != code {
		t.Errorf("run %d ended with %v, code %d (%s), want %v, code %d", s.GetRun(),
			s.GetEnd().GetCause(), s.GetEnd().GetCode(), s.GetEnd().GetMessage(), cause, code)
	}
}

func near(t *testing.T, what string, got, want, within time.Duration) {
	t.Helper()
	if got < want-within || got > want+within {
		t.Errorf("%s is %s, want %s, give or take %s", what, got, want, within)
	}
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// ownerOf says who owns a file.
func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}
