package executor

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/process"
	"github.com/coinop/coinop/executor/wire"
)

// childVariable makes the test's program an executor with the folder that it names.
const childVariable = "COINOP_TEST_EXECUTOR_DIR"

// child is an executor with its driver in a process of their own, to be killed.
func child(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	driver, err := process.New(process.Config{Dir: filepath.Join(dir, "driver")})
	if err != nil {
		return err
	}
	e, err := New(Config{
		Dir: filepath.Join(dir, "executor"), Name: "n1", User: "nobody", Drivers: map[string]drivers.Driver{"process": driver},
		Servers: []string{"a:1"}, Log: slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "socket"))
		},
	})
	if err != nil {
		return err
	}
	driving, cancel := context.WithCancel(context.Background())
	var driverDone sync.WaitGroup
	driverDone.Go(func() { _ = driver.Run(driving) })
	err = e.Run(ctx)
	cancel()
	driverDone.Wait()
	return err
}

// spawn starts a child; kill ends it with the given signal and waits.
func spawn(t *testing.T, dir string) (kill func(os.Signal)) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func(s os.Signal) {
		if err := cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // says only that it was killed
	}
}

func TestKilledExecutorsTaskRunsOnceAndIsReported(t *testing.T) {
	for name, moment := range map[string]func(c *cluster){
		"as the orders come":       func(c *cluster) { c.await("facts", func() bool { return c.facts != nil }) },
		"when it runs":             func(c *cluster) { c.awaitState(1, wire.RunState_RUN_STATE_RUNNING) },
		"when it has ended":        func(c *cluster) { c.awaitEnd(1) },
		"while it is forgotten":    func(c *cluster) { c.awaitEnd(1); c.forget(1) },
		"before it has said hello": func(*cluster) {},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, "out")
			if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(out, nil, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(out, 0o666); err != nil {
				t.Fatal(err)
			}
			c := newCluster(t)
			c.patience = 20 * time.Second
			stop := c.listen(filepath.Join(dir, "socket"))
			c.order(shell(1, fmt.Sprintf("echo started >>%s; sleep 0.3; echo ended >>%s; exit 5", out, out)))
			kill := spawn(t, dir)
			moment(c)
			kill(syscall.SIGKILL)
			kill = spawn(t, dir)
			if locked(c, func() bool { return c.orders[1] != nil }) {
				expectEnd(t, c.awaitEnd(1), wire.Cause_CAUSE_EXITED, 5)
				c.forget(1)
			}
			c.order(shell(2, "true"))
			expectEnd(t, c.awaitEnd(2), wire.Cause_CAUSE_EXITED, 0)
			c.forget(2)
			kill(syscall.SIGTERM)
			stop()
			b, err := os.ReadFile(out)
			if err != nil || string(b) != "started\nended\n" {
				t.Errorf("the task wrote %q, %v; want one start and one end", strings.Fields(string(b)), err)
			}
		})
	}
}

// listen takes executors at a socket.
func (c *cluster) listen(path string) (stop func()) {
	c.t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		c.t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			session, err := wire.Accept(conn, &half{cluster: c, address: "a:1"})
			if err != nil {
				c.t.Error(err)
				return
			}
			c.change(func() { c.sessions = append(c.sessions, session) })
		}
	})
	return func() {
		_ = listener.Close()
		accepting.Wait()
		c.close()
	}
}
