//go:build e2e

package vm_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/plugin"
	"github.com/coinop/coinop/drivers/vm"
	"github.com/coinop/coinop/drivers/vm/vmtest"
)

func suite(h drivertest.Harness) drivertest.Harness {
	h.Many, h.Machine = 6, "10.0.2.2"
	return h
}

func TestConformance(t *testing.T) { drivertest.Run(t, suite(newHarness(t, vm.Config{}))) }

// TestManyMachinesLeaveNothing is as many as COINOP_VM_RUNS says.
func TestManyMachinesLeaveNothing(t *testing.T) {
	drivertest.ManyRuns(t, newHarness(t, vm.Config{}), drivertest.Runs(t, "COINOP_VM_RUNS", 5), 2)
}

// As a plugin that is killed in between: what a socket or a restart could spoil. All the rest is seen without one.
func TestAsAPlugin(t *testing.T) {
	kernel := vmtest.Need(t)
	yard := containertest.Yard(t)
	containertest.MakeRoot(t, filepath.Join(yard, "image"))
	config := plugin.Config{
		Dir: filepath.Join(yard, "plugin"), Command: self(t)[:1], Stderr: os.Stderr,
		Env: []string{"VM_TEST_YARD=" + yard, vmtest.KernelEnv + "=" + kernel, "PATH=" + os.Getenv("PATH")},
	}
	client, err := plugin.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	h := suite(harness(yard, filepath.Join(yard, "driver")))
	h.Driver = func() drivers.Driver { return client }
	h.Restart = func() error {
		data, err := os.ReadFile(filepath.Join(config.Dir, "plugin.json"))
		if err != nil {
			return err
		}
		var note struct{ Pid int }
		if err := json.Unmarshal(data, &note); err != nil {
			return err
		}
		return syscall.Kill(note.Pid, syscall.SIGKILL)
	}
	names := []string{
		"it says what it is, every limit included", "what cannot be is refused, and nothing happens", "freeze and thaw are timed", "a removed task is forgotten, and its id free",
		"exec has a terminal that can be resized", "exec ends with its caller, and with its task", "a port of a task is reached, and each direction ends by itself",
		"arguments and variables arrive byte for byte, and no others", "a command that is not there is 127, one that cannot run 126",
		"a task reads what it is told, and cannot change it", "a suspended task lives through the driver's death", "tasks live through the driver's death",
	}
	for _, name := range names {
		if !slices.ContainsFunc(drivertest.Checks(), func(c drivertest.Check) bool { return c.Name == name }) {
			t.Errorf("there is no check that %q", name)
		}
	}
	if failing, err := drivertest.Failing(t.Context(), h, names...); err != nil || len(failing) > 0 {
		t.Errorf("failing: %q, %v", failing, err)
	}
}

// forgetful is a good driver but for what it does with a command.
type forgetful struct {
	drivers.Driver
	control func(drivers.Driver, context.Context, string, drivers.Control) error
}

func (f forgetful) Control(ctx context.Context, id string, c drivers.Control) error {
	return f.control(f.Driver, ctx, id, c)
}

// beginner is a good driver that begins what should go on.
type beginner struct{ drivers.Driver }

func (b beginner) Start(ctx context.Context, t drivers.Task) (drivers.Status, error) {
	t.From = ""
	return b.Driver.Start(ctx, t)
}

func TestTheSuiteBitesOnMoving(t *testing.T) {
	const check = "a suspended task goes on elsewhere"
	h := suite(newHarness(t, vm.Config{}))
	good := h.Elsewhere()
	h.Elsewhere = func() drivers.Driver { return beginner{good} }
	failing, err := drivertest.Failing(t.Context(), h, check)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(failing, check) {
		t.Errorf("what should go on begins anew, and %q did not notice", check)
	}
}

// What the suite says of suspending is noticed when it is not so.
func TestTheSuiteBitesOnSuspending(t *testing.T) {
	const check = "a suspended task goes on where it was"
	h := suite(newHarness(t, vm.Config{}))
	good := h.Driver()
	h.Timeout = 20 * time.Second
	for fault, control := range map[string]func(drivers.Driver, context.Context, string, drivers.Control) error{
		"it is frozen and not suspended": func(d drivers.Driver, ctx context.Context, id string, c drivers.Control) error {
			if c.Kind == drivers.Suspend {
				c.Kind = drivers.Freeze
			}
			return d.Control(ctx, id, c)
		},
		"it never comes back": func(d drivers.Driver, ctx context.Context, id string, c drivers.Control) error {
			if c.Kind == drivers.Resume {
				return nil
			}
			return d.Control(ctx, id, c)
		},
		"it comes back anew": func(d drivers.Driver, ctx context.Context, id string, c drivers.Control) error {
			if c.Kind == drivers.Resume {
				return d.Control(ctx, id, drivers.Control{Kind: drivers.Kill})
			}
			return d.Control(ctx, id, c)
		},
	} {
		h.Driver = func() drivers.Driver { return forgetful{good, control} }
		failing, err := drivertest.Failing(t.Context(), h, check)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(failing, check) {
			t.Errorf("%s, and %q did not notice", fault, check)
		}
	}
}
