package vm_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/logs"
	"github.com/coinop/coinop/drivers/plugin"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/tasks"
	"github.com/coinop/coinop/drivers/vm"
	"github.com/coinop/coinop/drivers/vm/monitor"
	"github.com/coinop/coinop/drivers/vm/vmtest"
)

// TestMain plays the other processes of these tests: the monitor beside a machine, and a plugin.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "monitor" {
		monitor.Run(os.Args[2])
	}
	if !plugin.Asked() {
		os.Exit(m.Run())
	}
	if err := serve(os.Getenv("VM_TEST_YARD"), os.Getenv(vmtest.KernelEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(yard, kernel string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	d, err := vm.New(vm.Config{
		Dir: filepath.Join(yard, "driver"), Kernel: kernel, Images: containertest.Store(filepath.Join(yard, "image")), Program: []string{program, "monitor"},
	})
	if err != nil {
		return err
	}
	return plugin.Serve(plugin.ServeConfig{Driver: d})
}

func living(t testing.TB, config vm.Config) *drivertest.Living[*vm.Driver] {
	return &drivertest.Living[*vm.Driver]{T: t, Dir: config.Dir, Make: func() (*vm.Driver, error) { return vm.New(config) }}
}

func self(t testing.TB) []string {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{program, "monitor"}
}

func newHarness(t testing.TB, config vm.Config) drivertest.Harness {
	t.Helper()
	if config.Kernel == "" {
		config.Kernel = vmtest.Need(t)
	}
	yard := containertest.Yard(t)
	config.Dir, config.Program = filepath.Join(yard, "driver"), self(t)
	root := filepath.Join(yard, "image")
	containertest.MakeRoot(t, root)
	if config.Images == nil {
		config.Images = containertest.Store(root)
	}
	l := living(t, config)
	if err := l.Begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Leave)
	if _, err := l.Driver.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := harness(yard, config.Dir)
	h.Driver = func() drivers.Driver { return l.Driver }
	other := filepath.Join(yard, "elsewhere")
	h.Elsewhere = sync.OnceValue(func() drivers.Driver {
		config.Dir = other
		l := living(t, config)
		if err := l.Begin(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.End() })
		return l.Driver
	})
	h.Leaks = func() ([]string, error) {
		here, err := leaks(yard, filepath.Join(yard, "driver"))
		there, errThere := leaks(yard, other)
		return append(here, there...), errors.Join(err, errThere)
	}
	h.Restart = func() error {
		l.End()
		return l.Begin()
	}
	return h
}

func harness(yard, stateDir string) drivertest.Harness {
	return drivertest.Harness{
		Now:      shim.Boottime,
		Folder:   func() (string, error) { return containertest.TaskFolder(yard) },
		Exit:     func(code int) []string { return []string{"/bin/sh", "-c", fmt.Sprintf("exit %d", code)} },
		Block:    []string{"sleep", "1000"},
		Stubborn: []string{"/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1000; done`},
		Programs: true, Image: containertest.Busybox, UID: 65534, GID: 65534, Timeout: 5 * time.Minute,
		Leaks: func() ([]string, error) { return leaks(yard, stateDir) },
	}
}

// leaks lists processes, cgroups and files that belong to no task any more.
func leaks(yard, stateDir string) ([]string, error) {
	var left []string
	for _, pattern := range []string{
		"/sys/fs/cgroup/" + tasks.CgroupPrefix(stateDir) + "*", "/sys/fs/cgroup/*/" + tasks.CgroupPrefix(stateDir) + "*",
		filepath.Join(stateDir, "tasks", "*"), filepath.Join(stateDir, "probe-*"), filepath.Join(stateDir, "disks", "*.new"),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		left = append(left, found...)
	}
	for pattern, what := range map[string]string{"/proc/[0-9]*/cmdline": yard, "/proc/self/mountinfo": yard} {
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

// A machine boots, says what its command says, ends as it does, and brings back what it made.
func TestAMachineRunsACommand(t *testing.T) {
	h := newHarness(t, vm.Config{})
	d := h.Driver()
	folder, err := h.Folder()
	if err != nil {
		t.Fatal(err)
	}
	task := drivers.Task{
		ID: "one", Dir: filepath.Join(folder, "driver"), WorkDir: filepath.Join(folder, "work"), UID: h.UID, GID: h.GID, Image: h.Image,
		Argv: []string{"/bin/sh", "-c", "cat in; uname -n; id -u; cp in out; ln -s out link; mkdir -p a/b; echo x >a/b/c; echo wrong >&2; exit 7"}, Env: []string{"PATH=/bin"},
	}
	if err := errors.Join(os.Mkdir(task.WorkDir, 0o755), os.WriteFile(filepath.Join(task.WorkDir, "in"), []byte("over there\n"), 0o644), os.Chown(task.WorkDir, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Start(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	statuses, err := d.Watch(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	var last drivers.Status
	for last = range statuses {
	}
	for name, want := range map[string]string{"stdout": "over there\none\n0\n", "stderr": "wrong\n"} {
		chunk, err := logs.Read(filepath.Join(task.Dir, name), 0, 1000)
		if err != nil || string(chunk.Data) != want {
			t.Errorf("%s is %q, %v", name, chunk.Data, err)
		}
	}
	if last.Exit.Code != 7 || last.Exit.Cause != drivers.CauseExited {
		t.Errorf("ended as %+v", last)
	}
	for name, want := range map[string]string{"out": "over there\n", "link": "over there\n", "a/b/c": "x\n"} {
		if got, err := os.ReadFile(filepath.Join(task.WorkDir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if err := d.Remove(t.Context(), "one"); err != nil {
		t.Error(err)
	}
	if left, err := h.Leaks(); err != nil || len(left) > 0 {
		t.Errorf("left are %q, %v", left, err)
	}
}
