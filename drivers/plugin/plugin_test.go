package plugin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/fake"
	"github.com/coinop/coinop/drivers/plugin"
	"github.com/coinop/coinop/drivers/process"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/tasks"
)

// TestMain plays the other processes of these tests: a plugin, or an agent that waits to be killed.
func TestMain(m *testing.M) {
	role, dir, _ := strings.Cut(os.Getenv("PLUGIN_TEST_ROLE"), ":")
	var err error
	switch {
	case role == "agent":
		err = agent(dir)
	case plugin.Asked():
		err = serve(role, dir)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// chatty writes to the plugin's own standard error, which is a pipe to an agent that may be dead.
type chatty struct {
	plugin.Runner
	log *slog.Logger
}

func (c chatty) Start(ctx context.Context, t drivers.Task) (drivers.Status, error) {
	c.log.Info("starting", "task", t.ID)
	return c.Runner.Start(ctx, t)
}

func serve(kind, dir string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	idle := time.Minute
	if kind == "hasty" {
		idle = 200 * time.Millisecond
	}
	if kind == "fake" {
		return plugin.Serve(plugin.ServeConfig{Driver: fake.New(fake.Config{Start: shim.Boottime(), Disk: true, Moves: "here"})})
	}
	if lie, ok := strings.CutPrefix(kind, "liar "); ok {
		return plugin.Serve(plugin.ServeConfig{Driver: newLiar(lie)})
	}
	if kind == "container" {
		d, err := container.New(container.Config{Dir: dir, Log: log, Images: containertest.Store(filepath.Join(filepath.Dir(dir), "image"))})
		if err != nil {
			return err
		}
		return plugin.Serve(plugin.ServeConfig{Driver: d, Log: log, Idle: idle})
	}
	d, err := process.New(process.Config{Dir: dir, Log: log})
	if err != nil {
		return err
	}
	return plugin.Serve(plugin.ServeConfig{Driver: chatty{d, log}, Log: log, Idle: idle})
}

func pluginConfig(t testing.TB, kind, dir string) plugin.Config {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return plugin.Config{
		Dir: filepath.Join(dir, "plugin"), Command: []string{self},
		Env: []string{"PLUGIN_TEST_ROLE=" + kind + ":" + filepath.Join(dir, "state"), "PATH=" + os.Getenv("PATH")},
	}
}

type running struct {
	*plugin.Client
	end func()
}

func run(t testing.TB, config plugin.Config) *running {
	t.Helper()
	c, err := plugin.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	over := false
	r := &running{Client: c, end: func() {
		if over {
			return
		}
		over = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}}
	t.Cleanup(r.end)
	return r
}

// pid is the plugin's, as noted for the next agent.
func pid(t testing.TB, config plugin.Config) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(config.Dir, "plugin.json"))
	if err != nil {
		t.Fatal(err)
	}
	var note struct{ Pid int }
	if err := json.Unmarshal(data, &note); err != nil {
		t.Fatal(err)
	}
	return note.Pid
}

func processHarness(t *testing.T, dir string) drivertest.Harness {
	base := t.TempDir()
	state := filepath.Join(dir, "state")
	h := drivertest.Harness{
		Now: shim.Boottime, Programs: true, Mark: "PLUGINTEST=" + dir,
		Folder:   func() (string, error) { return os.MkdirTemp(base, "task-") },
		Exit:     func(code int) []string { return []string{"/bin/sh", "-c", "exit " + strconv.Itoa(code)} },
		Block:    []string{"sleep", "1000"},
		Stubborn: []string{"/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1000; done`},
		Leaks: func() ([]string, error) {
			groups, err := filepath.Glob("/sys/fs/cgroup/*/" + tasks.CgroupPrefix(state) + "*")
			if err != nil {
				return nil, err
			}
			links, err := filepath.Glob(filepath.Join(state, "tasks", "*"))
			return append(groups, links...), err
		},
	}
	if os.Geteuid() == 0 {
		h.UID, h.GID = 65534, 65534
	}
	return h
}

// The process driver keeps every promise through a socket, also when its process is killed in between.
func TestProcessDriverAsPlugin(t *testing.T) {
	dir := t.TempDir()
	config := pluginConfig(t, "process", dir)
	client := run(t, config)
	h := processHarness(t, dir)
	h.Driver = func() drivers.Driver { return client }
	h.Restart = func() error { return syscall.Kill(pid(t, config), syscall.SIGKILL) }
	drivertest.Run(t, h)
	client.end()
	left, err := filepath.Glob(filepath.Join(config.Dir, "plugin*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the plugin left %q, %v", left, err)
	}
}

// So does the container driver, terminals included.
func TestContainerDriverAsPlugin(t *testing.T) {
	containertest.Need(t)
	dir := containertest.Yard(t)
	containertest.MakeRoot(t, filepath.Join(dir, "image"))
	config := pluginConfig(t, "container", dir)
	client := run(t, config)
	if _, err := client.Describe(t.Context()); errors.Is(err, drivers.ErrUnsupported) {
		t.Skip(err)
	}
	h := processHarness(t, dir)
	h.Folder = func() (string, error) { return containertest.TaskFolder(dir) }
	h.Image = containertest.Busybox
	h.Driver = func() drivers.Driver { return client }
	h.Restart = func() error { return syscall.Kill(pid(t, config), syscall.SIGKILL) }
	drivertest.Run(t, h)
}

// The fake has an Exec, so its streams are seen to pass the socket. Its clock stands still, so only what needs none is asked.
func TestFakeDriverAsPlugin(t *testing.T) {
	client := run(t, pluginConfig(t, "fake", t.TempDir()))
	base := t.TempDir()
	h := drivertest.Harness{
		Driver: func() drivers.Driver { return client }, Now: shim.Boottime,
		Folder: func() (string, error) { return os.MkdirTemp(base, "task-") },
		Exit:   func(code int) []string { return []string{"exit", strconv.Itoa(code)} },
		Block:  []string{"block"}, Stubborn: []string{"stubborn"},
	}
	failing, err := drivertest.Failing(t.Context(), h, "exec joins streams and brings the code", "the exit code is the command's",
		"a watch shows each task to its end", "what cannot be is refused, and nothing happens", "it says what it is, every limit included",
		"what is exported starts elsewhere, once and again", "only a suspended task is exported", "a task goes on from nothing that is broken")
	if err != nil || len(failing) > 0 {
		t.Errorf("failing: %q, %v", failing, err)
	}
}

// agent starts two tasks, says so, and waits for its death.
func agent(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c, err := plugin.New(plugin.Config{
		Dir: filepath.Join(dir, "plugin"), Command: []string{self}, Stderr: os.Stderr,
		Env: []string{"PLUGIN_TEST_ROLE=process:" + filepath.Join(dir, "state")},
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	go func() { fmt.Fprintln(os.Stderr, c.Run(ctx)) }()
	for _, id := range []string{"long", "short"} {
		task := drivers.Task{ID: id, Dir: filepath.Join(dir, id), WorkDir: "/", Argv: []string{"sleep", "1000"}, AllowRoot: true}
		if id == "short" {
			task.Argv = []string{"/bin/sh", "-c", "exit 6"}
		}
		if err := os.Mkdir(task.Dir, 0o700); err != nil {
			return err
		}
		if _, err := c.Start(ctx, task); err != nil {
			return err
		}
	}
	fmt.Println("started")
	select {}
}

// killedAgent has an agent start two tasks, kills it, and returns its plugin's number.
func killedAgent(t *testing.T, dir string, config plugin.Config) int {
	t.Helper()
	first := exec.Command(config.Command[0])
	first.Env = []string{"PLUGIN_TEST_ROLE=agent:" + dir}
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the agent said %q: %v", line, err)
	}
	before := pid(t, config)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	return before
}

// The agent is killed; the next one finds the same plugin and the same tasks. The plugin's standard error is a broken pipe then.
func TestAgentKilled(t *testing.T) {
	dir := t.TempDir()
	config := pluginConfig(t, "process", dir)
	before := killedAgent(t, dir, config)
	client := run(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	long, err := client.Start(ctx, drivers.Task{ID: "long", Dir: filepath.Join(dir, "long"), WorkDir: "/", Argv: []string{"false"}, AllowRoot: true})
	if err != nil || long.State.Final() || syscall.Kill(long.Pid, 0) != nil {
		t.Errorf("the long task is %+v, %v", long, err)
	}
	if after := pid(t, config); after != before {
		t.Errorf("the plugin was process %d and is %d", before, after)
	}
	statuses, err := client.Watch(ctx, "short")
	if err != nil {
		t.Fatal(err)
	}
	var last drivers.Status
	for last = range statuses {
	}
	if last.Exit.Code != 6 || last.Exit.Cause != drivers.CauseExited {
		t.Errorf("the short task is %+v", last)
	}
	for _, id := range []string{"long", "short"} {
		if err := client.Remove(ctx, id); err != nil {
			t.Error(err)
		}
	}
	client.end()
	// Its parent was killed, so it may wait for whoever buries orphans here.
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", before)); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("after its client ended the plugin still runs: %s", stat)
	}
}

// Without anybody who wants it a plugin ends by itself.
func TestIdlePluginEnds(t *testing.T) {
	dir := t.TempDir()
	config := pluginConfig(t, "hasty", dir)
	cmd := exec.Command(config.Command[0])
	cmd.Env = append(config.Env, "COINOP_DRIVER_PLUGIN=62d1c1ab", "PLUGIN_UNIX_SOCKET_DIR="+dir, "PLUGIN_PROTOCOL_VERSIONS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Two agents on one folder would fight over its plugin.
func TestSecondClientIsRefused(t *testing.T) {
	config := pluginConfig(t, "fake", t.TempDir())
	first := run(t, config)
	if _, err := first.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := plugin.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the second client ended with %v", err)
	}
}

// A command that is no plugin is said at once to whoever calls.
func TestNoPlugin(t *testing.T) {
	config := pluginConfig(t, "fake", t.TempDir())
	config.Command = []string{"/bin/false"}
	client := run(t, config)
	_, err := client.Describe(t.Context())
	if !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "/bin/false") {
		t.Errorf("describe: %v", err)
	}
}
