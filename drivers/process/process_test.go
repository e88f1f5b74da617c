package process_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/process"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/tasks"
)

func begin(t testing.TB, config process.Config, tweak func(*process.Driver)) *drivertest.Living[*process.Driver] {
	t.Helper()
	l := &drivertest.Living[*process.Driver]{T: t, Dir: config.Dir, Make: func() (*process.Driver, error) {
		d, err := process.New(config)
		if err == nil && tweak != nil {
			tweak(d)
		}
		return d, err
	}}
	if err := l.Begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Leave)
	return l
}

// harness fits a process driver, wherever it runs, into the suite.
func harness(t testing.TB, stateDir string) drivertest.Harness {
	base := t.TempDir()
	mark := fmt.Sprintf("DRIVERTEST=%d.%s", os.Getpid(), filepath.Base(stateDir)+filepath.Base(filepath.Dir(stateDir)))
	h := drivertest.Harness{
		Now:      shim.Boottime,
		Folder:   func() (string, error) { return os.MkdirTemp(base, "task-") },
		Exit:     func(code int) []string { return []string{"/bin/sh", "-c", fmt.Sprintf("exit %d", code)} },
		Block:    []string{"sleep", "1000"},
		Stubborn: []string{"/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1000; done`},
		Programs: true, Mark: mark,
		Leaks: func() ([]string, error) { return leaks(stateDir, mark) },
	}
	if os.Geteuid() == 0 {
		h.UID, h.GID = 65534, 65534
	}
	return h
}

// leaks lists processes, cgroups and files that belong to no task any more.
func leaks(stateDir, mark string) ([]string, error) {
	var left []string
	for _, pattern := range []string{
		"/sys/fs/cgroup/" + tasks.CgroupPrefix(stateDir) + "*", "/sys/fs/cgroup/*/" + tasks.CgroupPrefix(stateDir) + "*",
		"/sys/fs/cgroup/*/*/" + tasks.CgroupPrefix(stateDir) + "*",
		filepath.Join(stateDir, "tasks", "*"),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		left = append(left, found...)
	}
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, err
	}
	for _, file := range environs {
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, []byte(mark)) {
			left = append(left, file)
		}
	}
	return left, nil
}

func suite(t *testing.T, config process.Config, tweak func(*process.Driver)) drivers.Driver {
	l := begin(t, config, tweak)
	h := harness(t, config.Dir)
	h.Driver = func() drivers.Driver { return l.Driver }
	h.Restart = func() error {
		l.End()
		return l.Begin()
	}
	drivertest.Run(t, h)
	return l.Driver
}

func TestProcessDriver(t *testing.T) {
	parent := os.Getenv("PROCESS_TEST_CGROUP_PARENT")
	d := suite(t, process.Config{Dir: t.TempDir(), CgroupParent: parent}, nil)
	if parent == "" {
		return
	}
	description, err := d.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range description.Limits {
		if l.Limit == drivers.LimitLease && l.Reason != "" {
			t.Errorf("the cgroup %s is not used to freeze: %s", parent, l.Reason)
		}
	}
}

func TestWithoutCgroups(t *testing.T) {
	suite(t, process.Config{Dir: t.TempDir(), NoCgroups: true}, nil)
}

// TestVersionOneOnly freezes by version 1's freezer and kills by hand.
func TestVersionOneOnly(t *testing.T) {
	if _, err := os.Stat("/sys/fs/cgroup/freezer"); err != nil || os.Geteuid() != 0 {
		t.Skip("it needs version 1 of cgroups and root")
	}
	suite(t, process.Config{Dir: t.TempDir(), NoUnified: true}, nil)
}

// TestAsPlainUser runs TestProcessDriver again as nobody, who may set few limits.
func TestAsPlainUser(t *testing.T) {
	out := asNobody(t, nil)
	able := drivers.Description{Pause: true, Share: true}
	for _, limit := range drivers.Limits() {
		able.Limits = append(able.Limits, drivers.LimitSupport{Limit: limit, Supported: true})
	}
	skipped := 0
	for _, check := range drivertest.Checks() {
		applies := check.Needs == nil || check.Needs(drivertest.Harness{Programs: true, Restart: func() error { return nil }}, able)
		if applies && strings.Contains(out, "--- SKIP: TestProcessDriver/"+strings.ReplaceAll(check.Name, " ", "_")+" ") {
			skipped++
		}
	}
	if skipped > 4 { // memory twice, pids, cpu
		t.Errorf("%d checks skipped:\n%s", skipped, out)
	}
}

// A plain user who has been given a cgroup can freeze and kill by it.
func TestAsPlainUserWithDelegatedCgroup(t *testing.T) {
	const name = "coinop-delegated-test"
	root := "/sys/fs/cgroup/unified"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root = "/sys/fs/cgroup"
	}
	parent := filepath.Join(root, name)
	agent := filepath.Join(parent, "agent")
	if err := os.MkdirAll(agent, 0o755); err != nil {
		t.Skip("no cgroup to give away here: ", err)
	}
	t.Cleanup(func() { os.Remove(agent); os.Remove(parent) })
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control", "agent/cgroup.procs"} {
		if err := os.Chown(filepath.Join(parent, file), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.Open(agent)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	asNobody(t, dir, "PROCESS_TEST_CGROUP_PARENT="+name)
}

const nobody = 65534

func asNobody(t *testing.T, cgroup *os.File, env ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this is a plain user already")
	}
	dir, err := os.MkdirTemp("", "plain-user-") // t.TempDir's parents are root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "process.test")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), program, "-test.run", "^TestProcessDriver$", "-test.v")
	run.Dir = dir
	run.Env = append(env, "TMPDIR="+dir, "PATH=/usr/bin:/bin")
	run.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if cgroup != nil {
		run.SysProcAttr.UseCgroupFD, run.SysProcAttr.CgroupFD = true, int(cgroup.Fd())
	}
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("as nobody: %v\n%s", err, out)
	}
	return string(out)
}
