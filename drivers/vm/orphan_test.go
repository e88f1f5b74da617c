//go:build e2e

package vm_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/vm"
)

// machine starts a task that blocks, waits until its machine obeys, and finds its processes.
func machine(ctx context.Context, t *testing.T, h drivertest.Harness, id string) (task drivers.Task, shim, monitor int) {
	t.Helper()
	task = newTask(t, h, id, "sleep 1000")
	if _, err := h.Driver().Start(ctx, task); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Driver().Exec(ctx, id, drivers.ExecRequest{Argv: []string{"true"}}, drivers.ExecStreams{}); err != nil {
		t.Fatal(err)
	}
	statuses, err := h.Driver().Watch(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	monitor = (<-statuses).Pid
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(monitor), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	shim, err = strconv.Atoi(strings.Fields(string(stat))[3])
	if err != nil {
		t.Fatal(err)
	}
	return task, shim, monitor
}

// A machine whose task's folder somebody has removed is ended by Remove as any other, also when one of the processes beside it was
// killed, and its driver restarted in between.
func TestNoMachineOutlivesItsFolder(t *testing.T) {
	h := suite(newHarness(t, vm.Config{}))
	ctx, cancel := context.WithTimeout(t.Context(), h.Timeout)
	defer cancel()
	kill := func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }
	for id, do := range map[string]func(shim, monitor int) error{
		"alive":          func(int, int) error { return nil },
		"restart":        func(int, int) error { return h.Restart() },
		"no-monitor":     func(_, monitor int) error { return kill(monitor) },
		"no-shim":        func(shim, _ int) error { return kill(shim) },
		"no-shim-either": func(shim, monitor int) error { _ = kill(monitor); _ = kill(shim); return h.Restart() },
	} {
		task, shim, monitor := machine(ctx, t, h, id)
		if err := os.RemoveAll(filepath.Dir(task.Dir)); err != nil {
			t.Fatal(err)
		}
		if err := do(shim, monitor); err != nil {
			t.Fatal(err)
		}
		if err := h.Driver().Remove(ctx, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if left, err := h.Leaks(); err != nil || len(left) > 0 {
			t.Errorf("%s: left are %q, %v", id, left, err)
		}
	}
}

// One whose driver's folder has gone as well, which nobody could end any more, ends by itself.
func TestAForgottenMachineEnds(t *testing.T) {
	h := suite(newHarness(t, vm.Config{}))
	ctx, cancel := context.WithTimeout(t.Context(), h.Timeout)
	defer cancel()
	task, shim, monitor := machine(ctx, t, h, "forgotten")
	yard := filepath.Dir(filepath.Dir(task.Dir))
	records, err := filepath.Glob(filepath.Join(yard, "driver", "tasks", "forgotten*"))
	if err != nil || len(records) == 0 {
		t.Fatalf("its records are %q, %v", records, err)
	}
	for _, path := range append(records, filepath.Dir(task.Dir)) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	statuses, err := h.Driver().Watch(ctx, "forgotten")
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	var last drivers.Status
	for last = range statuses {
	}
	t.Logf("shim %d and monitor %d ended after %v", shim, monitor, time.Since(begun).Round(time.Second))
	if last.Exit.Cause != drivers.CauseShimLost {
		t.Errorf("it ended as %+v", last)
	}
	if err := h.Driver().Remove(ctx, "forgotten"); err != nil {
		t.Error(err)
	}
	if left, err := h.Leaks(); err != nil || len(left) > 0 {
		t.Errorf("left are %q, %v", left, err)
	}
}
