package container_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/tasks"
)

func begin(t testing.TB, config container.Config) *drivertest.Living[*container.Driver] {
	t.Helper()
	l := &drivertest.Living[*container.Driver]{T: t, Dir: config.Dir, Make: func() (*container.Driver, error) { return container.New(config) }}
	if err := l.Begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Leave)
	if _, err := l.Driver.Describe(t.Context()); err != nil {
		t.Skip(err)
	}
	return l
}

func harness(yard, stateDir string) drivertest.Harness {
	mark := fmt.Sprintf("DRIVERTEST=%d.%s", os.Getpid(), filepath.Base(yard))
	return drivertest.Harness{
		Now:      shim.Boottime,
		Folder:   func() (string, error) { return containertest.TaskFolder(yard) },
		Exit:     func(code int) []string { return []string{"/bin/sh", "-c", fmt.Sprintf("exit %d", code)} },
		Block:    []string{"sleep", "1000"},
		Stubborn: []string{"/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1000; done`},
		Programs: true, Mark: mark, Image: containertest.Busybox, UID: 65534, GID: 65534,
		Leaks: func() ([]string, error) { return leaks(yard, stateDir, mark) },
	}
}

// leaks lists mounts, processes, cgroups and files that belong to no task any more.
func leaks(yard, stateDir, mark string) ([]string, error) {
	var left []string
	for _, pattern := range []string{
		"/sys/fs/cgroup/" + tasks.CgroupPrefix(stateDir) + "*", "/sys/fs/cgroup/*/" + tasks.CgroupPrefix(stateDir) + "*",
		"/sys/fs/cgroup/*/*/" + tasks.CgroupPrefix(stateDir) + "*", "/sys/fs/cgroup/*/*/*/" + tasks.CgroupPrefix(stateDir) + "*",
		filepath.Join(stateDir, "tasks", "*"),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		left = append(left, found...)
	}
	for pattern, what := range map[string]string{"/proc/[0-9]*/environ": mark, "/proc/[0-9]*/cmdline": yard, "/proc/self/mountinfo": yard} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, []byte(what)) {
				left = append(left, file)
			}
		}
	}
	return left, nil
}

func newHarness(t *testing.T, config container.Config) drivertest.Harness {
	t.Helper()
	containertest.Need(t)
	yard := containertest.Yard(t)
	config.Dir = filepath.Join(yard, "driver")
	root := filepath.Join(yard, "image")
	containertest.MakeRoot(t, root)
	if w, ok := config.Images.(whose); ok {
		w.Images = containertest.Store(root)
		config.Images = w
	} else {
		config.Images = containertest.Store(root)
	}
	l := begin(t, config)
	h := harness(yard, config.Dir)
	h.Driver = func() drivers.Driver { return l.Driver }
	h.Restart = func() error {
		l.End()
		return l.Begin()
	}
	return h
}

func TestCrun(t *testing.T) { drivertest.Run(t, newHarness(t, container.Config{Runtime: "crun"})) }

func TestRunc(t *testing.T) { drivertest.Run(t, newHarness(t, container.Config{Runtime: "runc"})) }

// TestManyRunsLeaveNothing is as many as COINOP_CONTAINER_RUNS says.
func TestManyRunsLeaveNothing(t *testing.T) {
	drivertest.ManyRuns(t, newHarness(t, container.Config{}), drivertest.Runs(t, "COINOP_CONTAINER_RUNS", 20), 8)
}

// TestVersionOneOnly freezes by version 1's freezer and kills by hand.
func TestVersionOneOnly(t *testing.T) {
	if _, err := os.Stat("/sys/fs/cgroup/freezer"); err != nil {
		t.Skip("it needs version 1 of cgroups")
	}
	h := newHarness(t, container.Config{NoUnified: true})
	names := []string{
		"a frozen task does nothing", "freeze and thaw are timed", "the end of a task is the end of its daemons", "kill ends a task", "usage counts processor time",
		"a lapsed lease freezes, a renewal thaws", "what exec runs is the task's", "exec ends with its caller, and with its task", "processes are limited",
		"a task whose shim dies is lost, and its processes with it", "tasks live through the driver's death",
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
