package drivertest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/fake"
	"github.com/coinop/coinop/drivers/process"
	"github.com/coinop/coinop/drivers/shim"
)

// broken is a good driver with one fault.
type broken struct {
	drivers.Driver
	task    func(*drivers.Task)
	control func(*drivers.Control) (swallow bool)
	status  func(*drivers.Status)
	remove  bool // does nothing
	usage   func(*drivers.Usage)
	watch   bool // knows only the state of the moment
	exec    func(context.Context, *drivers.ExecRequest, *drivers.ExecStreams) context.Context
	reach   bool // connects to whoever listens
}

func (b *broken) Exec(ctx context.Context, id string, r drivers.ExecRequest, streams drivers.ExecStreams) (drivers.Exit, error) {
	if b.exec != nil {
		ctx = b.exec(ctx, &r, &streams)
	}
	if b.reach && r.Connect != 0 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.Connect))
		if err == nil {
			conn.Close()
			return drivers.Exit{Cause: drivers.CauseExited}, nil
		}
	}
	return b.Driver.Exec(ctx, id, r, streams)
}

func (b *broken) Start(ctx context.Context, t drivers.Task) (drivers.Status, error) {
	if b.task != nil {
		b.task(&t)
	}
	s, err := b.Driver.Start(ctx, t)
	if b.status != nil {
		b.status(&s)
	}
	return s, err
}

func (b *broken) Control(ctx context.Context, id string, c drivers.Control) error {
	if b.control != nil && b.control(&c) {
		return nil
	}
	return b.Driver.Control(ctx, id, c)
}

func (b *broken) Remove(ctx context.Context, id string) error {
	if b.remove {
		return nil
	}
	return b.Driver.Remove(ctx, id)
}

func (b *broken) Usage(ctx context.Context, id string) (drivers.Usage, error) {
	u, err := b.Driver.Usage(ctx, id)
	if b.usage != nil {
		b.usage(&u)
	}
	return u, err
}

func (b *broken) Watch(ctx context.Context, id string) (<-chan drivers.Status, error) {
	if b.watch {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return b.Driver.Watch(ctx, id)
	}
	in, err := b.Driver.Watch(ctx, id)
	if err != nil || b.status == nil {
		return in, err
	}
	out := make(chan drivers.Status)
	go func() {
		defer close(out)
		for s := range in {
			b.status(&s)
			select {
			case out <- s:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

const connected = "a port of a task is reached, and each direction ends by itself"

// never is a reader to which nothing comes.
type never struct{}

func (never) Read([]byte) (int, error) { select {} }

func fakeHarness(t *testing.T) (drivertest.Harness, drivers.Driver) {
	d := fake.New(fake.Config{})
	base := t.TempDir()
	return drivertest.Harness{
		Now: d.Now, Advance: d.Advance, Timeout: 300 * time.Millisecond,
		Folder: func() (string, error) { return os.MkdirTemp(base, "task-") },
		Exit:   func(code int) []string { return []string{"exit", strconv.Itoa(code)} },
		Block:  []string{"block"}, Stubborn: []string{"stubborn"},
	}, d
}

func swallow(kind drivers.ControlKind) func(*drivers.Control) bool {
	return func(c *drivers.Control) bool { return c.Kind == kind }
}

// Each fault of a driver is found by the check that is there for it.
func TestSuiteBites(t *testing.T) {
	for _, c := range []struct {
		fault string
		check string
		b     broken
	}{
		{"every exit code is 0", "the exit code is the command's", broken{status: func(s *drivers.Status) { s.Exit.Code = 0 }}},
		{"every start is a new task", "starting a task twice starts it once", broken{task: func() func(*drivers.Task) {
			n := 0
			return func(t *drivers.Task) { n++; t.ID += "x" + strconv.Itoa(n) }
		}()}},
		{"a watch stops at once", "a watch of all tasks sees those to come", broken{watch: true}},
		{"devices do not matter", "a driver without devices refuses them", broken{task: func(t *drivers.Task) { t.Devices = nil }}},
		{"kill does nothing", "kill ends a task", broken{control: swallow(drivers.Kill)}},
		{"stop never insists", "stop asks, then insists", broken{control: func(c *drivers.Control) bool { c.KillDelayMillis = 1e9; return false }}},
		{"nonsense is accepted", "what cannot be is refused, and nothing happens", broken{control: swallow(0)}},
		{"remove does nothing", "a removed task is forgotten, and its id free", broken{remove: true}},
		{"freeze does nothing", "freeze and thaw are timed", broken{control: swallow(drivers.Freeze)}},
		{"freezes are not recorded", "freeze and thaw are timed", broken{status: func(s *drivers.Status) { s.Frozen = nil }}},
		{"there is no lease", "a lapsed lease freezes, a renewal thaws", broken{task: func(t *drivers.Task) { t.LeaseUntil = 0 }}},
		{"renewals are lost", "a renewed lease does not lapse", broken{control: swallow(drivers.Lease)}},
		{"a lease is never shortened", "a lease cut short holds at once", broken{control: func(c *drivers.Control) bool { c.Until += 1e15; return false }}},
		{"the grace has no end", "a lease that stays lapsed kills in the end", broken{task: func(t *drivers.Task) { t.LeaseGraceMillis = 0 }}},
		{"it does not hold its place", "a task may hold its place and run nothing", broken{task: func(t *drivers.Task) {
			if t.Hold && len(t.Argv) == 0 {
				t.Hold, t.Argv = false, []string{"exit", "0"}
			}
		}}},
		{"a lapsed lease starts", "a task whose lease has lapsed never starts", broken{task: func(t *drivers.Task) { t.LeaseUntil += 1e15 }}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			h, good := fakeHarness(t)
			bites(t, h, good, c.b, c.check)
		})
	}
}

func bites(t *testing.T, h drivertest.Harness, good drivers.Driver, b broken, check string) {
	t.Helper()
	h.Driver = func() drivers.Driver { return good }
	if failing, err := drivertest.Failing(t.Context(), h, check); err != nil || len(failing) > 0 {
		t.Fatalf("the good driver fails %q: %v", failing, err)
	}
	b.Driver = good
	h.Driver = func() drivers.Driver { return &b }
	failing, err := drivertest.Failing(t.Context(), h, check)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(failing, check) {
		t.Errorf("%q did not notice", check)
	}
	number := slices.IndexFunc(drivertest.Checks(), func(c drivertest.Check) bool { return c.Name == check })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := good.Watch(ctx, fmt.Sprintf("c%d.1", number)); !errors.Is(err, drivers.ErrNoTask) && !b.remove {
		t.Errorf("%q gave up, and left its task there: %v", check, err)
	}
}

// A driver that comes back without its tasks is found out.
func TestSuiteBitesOnForgetting(t *testing.T) {
	const check = "tasks live through the driver's death"
	for _, forgets := range []bool{false, true} {
		h, d := fakeHarness(t)
		h.Driver = func() drivers.Driver { return d }
		h.Restart = func() error {
			if forgets {
				d = fake.New(fake.Config{})
			}
			return nil
		}
		failing, err := drivertest.Failing(t.Context(), h, check)
		if err != nil || slices.Contains(failing, check) != forgets {
			t.Errorf("forgets %v: failing %q, %v", forgets, failing, err)
		}
	}
}

// The same with real processes, for what a fake cannot get wrong.
func TestSuiteBitesOnProcesses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the limits that are left out here need root to be there at all")
	}
	state := t.TempDir()
	d, err := process.New(process.Config{Dir: state})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	base := t.TempDir()
	for _, c := range []struct {
		fault string
		check string
		b     broken
	}{
		{"a variable slips in", "arguments and variables arrive byte for byte, and no others", broken{task: func(t *drivers.Task) { t.Env = append(t.Env, "LEAK=1") }}},
		{"arguments become UTF-8", "arguments and variables arrive byte for byte, and no others", broken{task: func(t *drivers.Task) {
			t.Argv = slices.Clone(t.Argv)
			for i := range t.Argv {
				t.Argv[i] = strings.ToValidUTF8(t.Argv[i], "?")
			}
		}}},
		{"it runs as root", "a task starts clean", broken{task: func(t *drivers.Task) { t.UID, t.GID, t.AllowRoot = 0, 0, true }}},
		{"the log is not capped", "output is capped to its first and last bytes", broken{task: func(t *drivers.Task) { t.LogHeadBytes = 1 << 30 }}},
		{"no memory limit", "too much memory is an end out of memory", broken{task: func(t *drivers.Task) { t.MemoryBytes = 0 }}},
		{"out of memory is a mere signal", "too much memory is an end out of memory", broken{status: func(s *drivers.Status) { s.Exit.Cause = drivers.CauseSignalled }}},
		{"no limit of processes", "processes are limited", broken{task: func(t *drivers.Task) { t.PidsMax = 0 }}},
		{"no limit of processor time", "processor time is limited", broken{task: func(t *drivers.Task) { t.CPUMilli = 0 }}},
		{"no limit of files", "open files are limited", broken{task: func(t *drivers.Task) { t.FilesMax = 0 }}},
		{"signals reach the first process only", "a signal is told, and reaches the group", broken{control: func(c *drivers.Control) bool { c.Group = false; return false }}},
		{"freezing is only said", "a frozen task does nothing", broken{control: swallow(drivers.Freeze)}},
		{"nothing is counted", "usage counts processor time", broken{usage: func(u *drivers.Usage) { *u = drivers.Usage{} }}},
		{"a limit is said to be missing that is not", "what is not limited is said", broken{status: func(s *drivers.Status) { s.Missing = append(s.Missing, drivers.LimitCPU) }}},
		{"a failure to start has no reason", "a command that is not there is 127, one that cannot run 126", broken{status: func(s *drivers.Status) { s.Exit.Message = "" }}},
		{"output is cut", "output keeps its order", broken{task: func(t *drivers.Task) { t.LogHeadBytes, t.LogTailBytes = 10, 10 }}},
		{"output is another's", "a reader beside the writer sees true bytes", broken{task: func(t *drivers.Task) { t.Argv = []string{"seq", "1", "9999"} }}},
		{"a daemon stays", "the end of a task is the end of its daemons", broken{task: func(task *drivers.Task) { stray(t, task.Env, "BITE="+state) }}},
		{"a loss is called an end", "a task whose shim dies is lost, and its processes with it", broken{status: func(s *drivers.Status) {
			if s.State == drivers.StateLost {
				s.State = drivers.StateExited
			}
		}}},
		{"remove leaves it all", "many tasks leave nothing", broken{remove: true}},
		{"a caller's end is not passed on", connected, broken{exec: func(ctx context.Context, r *drivers.ExecRequest, s *drivers.ExecStreams) context.Context {
			if s.Stdin != nil {
				s.Stdin = io.MultiReader(s.Stdin, never{})
			}
			return ctx
		}}},
		{"a task's end is not told", connected, broken{exec: func(ctx context.Context, _ *drivers.ExecRequest, s *drivers.ExecStreams) context.Context {
			s.StdoutEnd = nil
			return ctx
		}}},
		{"any port of the machine is reached", "a port that is not the task's is refused", broken{reach: true}},
		{"it works in its own folder", "a task works in a shared folder as its user", broken{task: func(t *drivers.Task) { t.Share, t.Chdir = "", "" }}},
		{"links are followed anywhere", "no link leads a task out of a shared folder", broken{task: byName(func(string, string) bool { return true })}},
		{"links are looked at and then followed", "a link that is swapped under our hands leads nowhere", broken{task: byName(func(share, dir string) bool { return strings.HasPrefix(dir, share) })}},
		{"any folder will do", "a shared folder that cannot be is refused", broken{task: func(t *drivers.Task) { t.Share, t.Chdir = "", "" }}},
		{"a command is not frozen", "what exec runs is frozen with its task", broken{control: swallow(drivers.Freeze)}},
		{"a terminal stays as it is", "exec has a terminal that can be resized", broken{exec: func(ctx context.Context, _ *drivers.ExecRequest, s *drivers.ExecStreams) context.Context {
			s.Resize = nil
			return ctx
		}}},
		{"what a command leaves is not the task's", "what exec leaves running ends with the task", broken{exec: func(ctx context.Context, r *drivers.ExecRequest, _ *drivers.ExecStreams) context.Context {
			stray(t, r.Env, "BITE="+state)
			return ctx
		}}},
		{"a command outlives its driver", "exec leaves nothing when its driver dies", broken{exec: func(ctx context.Context, _ *drivers.ExecRequest, _ *drivers.ExecStreams) context.Context {
			return context.WithoutCancel(ctx)
		}}},
		{"a connection does not care for its caller", "a connection ends with its caller, and with its task", broken{exec: func(ctx context.Context, _ *drivers.ExecRequest, _ *drivers.ExecStreams) context.Context {
			return context.WithoutCancel(ctx)
		}}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			h := drivertest.Harness{
				Now: shim.Boottime, Timeout: 4 * time.Second, UID: 65534, GID: 65534, Programs: true, Mark: "BITE=" + state,
				Folder: func() (string, error) {
					dir, err := os.MkdirTemp(base, "task-")
					return dir, err
				},
				Leaks:    func() ([]string, error) { return filepath.Glob(state + "/tasks/*") },
				Restart:  func() error { return nil },
				Exit:     func(code int) []string { return []string{"/bin/sh", "-c", "exit " + strconv.Itoa(code)} },
				Block:    []string{"sleep", "1000"},
				Stubborn: []string{"/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1000; done`},
			}
			bites(t, h, d, c.b, c.check)
			ids, err := shim.Names(state + "/tasks")
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				if err := d.Remove(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// byName has a task start in a folder of its share by that folder's name alone, if what the name means beforehand will do.
func byName(will func(share, real string) bool) func(*drivers.Task) {
	return func(t *drivers.Task) {
		if real, err := filepath.EvalSymlinks(t.Chdir); err == nil && will(t.Share, real) {
			t.WorkDir, t.Share, t.Chdir = t.Chdir, "", ""
		}
	}
}

// stray starts a process that is nobody's task and looks like a task's.
func stray(t *testing.T, env []string, mark string) {
	daemon := exec.Command("sleep", "1000")
	daemon.Env = append(slices.Clone(env), mark)
	if err := daemon.Start(); err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill() // it is this test's own child
		_ = daemon.Wait()
	})
}
