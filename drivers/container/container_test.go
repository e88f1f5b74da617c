package container_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/tasks"
)

// life is a driver in this process that can be ended and begun again.
type life struct {
	t      testing.TB
	config container.Config
	driver *container.Driver
	end    func()
}

func (l *life) begin() error {
	d, err := container.New(l.config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	l.driver = d
	l.end = func() {
		cancel()
		if err := <-ended; err != nil {
			l.t.Error(err)
		}
	}
	return nil
}

func begin(t testing.TB, config container.Config) *life {
	t.Helper()
	l := &life{t: t, config: config}
	if err := l.begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.end() })
	if _, err := l.driver.Describe(t.Context()); err != nil {
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

func suite(t *testing.T, config container.Config) {
	containertest.Need(t, config.Runtime)
	yard := containertest.Yard(t)
	config.Dir = filepath.Join(yard, "driver")
	root := filepath.Join(yard, "image")
	containertest.MakeRoot(t, root)
	config.Images = containertest.Store(root)
	l := begin(t, config)
	h := harness(yard, config.Dir)
	h.Driver = func() drivers.Driver { return l.driver }
	h.Restart = func() error {
		l.end()
		return l.begin()
	}
	drivertest.Run(t, h)
}

func TestCrun(t *testing.T) { suite(t, container.Config{Runtime: "crun"}) }

func TestRunc(t *testing.T) { suite(t, container.Config{Runtime: "runc"}) }

// TestVersionOneOnly freezes by version 1's freezer and kills by hand.
func TestVersionOneOnly(t *testing.T) {
	if _, err := os.Stat("/sys/fs/cgroup/freezer"); err != nil {
		t.Skip("it needs version 1 of cgroups")
	}
	suite(t, container.Config{Runtime: "crun", NoUnified: true})
}
