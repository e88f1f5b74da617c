package executor

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
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

// dial connects over bytes, as in production.
func (c *cluster) dial(_ context.Context, address string) (net.Conn, error) {
	a, b := net.Pipe()
	session, err := wire.Accept(a, &half{cluster: c, address: address})
	if err != nil {
		return nil, err
	}
	c.change(func() { c.sessions = append(c.sessions, session) })
	return b, nil
}

// onRealMachine plays a story with real processes, on real time.
func onRealMachine(t testing.TB, c *cluster, dir string, story func(restart func())) {
	t.Helper()
	c.patience = 8 * time.Second
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	driver, err := process.New(process.Config{Dir: filepath.Join(dir, "driver")})
	if err != nil {
		t.Fatal(err)
	}
	config := Config{
		Dir: filepath.Join(dir, "executor"), Name: "n1", User: "nobody", Drivers: map[string]drivers.Driver{"process": driver},
		Servers: []string{"a:1"}, Dial: c.dial, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := driver.Run(ctx); err != nil {
			t.Errorf("the driver ended with: %v", err)
		}
	})
	start := func() (stop func()) {
		e, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the executor ended with: %v", err)
			}
		}
	}
	stop := start()
	story(func() { stop(); stop = start() })
	stop()
	c.close()
	cancel()
	running.Wait()
}

func shell(run uint64, script string) *wire.Order {
	o := running(run, "sh", "-c", script)
	o.Spec.Driver, o.Spec.CpuMilli, o.Spec.MemoryBytes = "process", 1000, 256<<20
	return o
}

func TestRealTaskWithInputsOutputsAndLogs(t *testing.T) {
	c := newCluster(t)
	onRealMachine(t, c, t.TempDir(), func(func()) {
		run := shell(1, `umask; pwd; echo "$HOME"; cat in/a; mkdir out; tr a-z A-Z <in/a >out/b; echo problem >&2; ls / >/dev/null; exit 3`)
		run.Spec.Inputs = []*wire.Input{{To: "in/a", Digest: c.give([]byte("hello\n")), Size: 6, Mode: 0o644}}
		run.Spec.Outputs = []string{"out/*"}
		c.order(run)
		status := c.awaitEnd(1)
		expectEnd(t, status, wire.Cause_CAUSE_EXITED, 3)
		blob := func(b []byte) string {
			d, _ := digestOf(b)
			return locked(c, func() string { return string(c.blobs[d]) })
		}
		end := status.GetEnd()
		lines := strings.Split(blob(end.GetStdout().GetDigest()), "\n")
		if len(lines) != 5 || lines[0] != "0022" || lines[1] != lines[2] || lines[3] != "hello" {
			t.Errorf("stdout is %q", lines)
		}
		if got := blob(end.GetStderr().GetDigest()); got != "problem\n" {
			t.Errorf("stderr is %q", got)
		}
		if len(end.GetOutputs()) != 1 || blob(end.GetOutputs()[0].GetDigest()) != "HELLO\n" {
			t.Errorf("outputs are %v, notes %q", end.GetOutputs(), end.GetNotes())
		}
		if status.RanMs == nil || status.StartedAgeMs == nil {
			t.Errorf("times are missing: %v", status)
		}
		c.forget(1)
	})
}

func TestRealLogWithAGap(t *testing.T) {
	c := newCluster(t)
	onRealMachine(t, c, t.TempDir(), func(func()) {
		c.order(shell(1, `head -c 20000000 /dev/zero | tr '\0' x; echo end`))
		log := c.awaitEnd(1).GetEnd().GetStdout()
		if log.GetSize() != 20000004 || log.GetHeadBytes() != 1<<20 || log.GetTailBytes() != 15<<20 || log.GetGapBytes() != 20000004-16<<20 {
			t.Errorf("the log is %v", log)
		}
		d, _ := digestOf(log.GetDigest())
		if b := locked(c, func() []byte { return c.blobs[d] }); len(b) != 16<<20 || !strings.HasSuffix(string(b), "xend\n") {
			t.Errorf("the blob has %d bytes", len(b))
		}
	})
}

func TestRealTaskOutlivesItsExecutorAndObeysTheNextOne(t *testing.T) {
	c := newCluster(t)
	onRealMachine(t, c, t.TempDir(), func(restart func()) {
		run := shell(1, `trap 'echo stopped; exit 9' TERM; echo ready; while :; do sleep 0.05; done`)
		c.order(run)
		c.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		c.awaitPrinted(t, 1)
		restart()
		c.await("the second stream", func() bool { return len(c.wholes) >= 2 })
		paused := but(run, func(o *wire.Order) { o.Want = wire.Want_WANT_PAUSE })
		c.order(paused)
		c.awaitState(1, wire.RunState_RUN_STATE_PAUSED)
		resumed := but(paused, func(o *wire.Order) { o.Want = wire.Want_WANT_RUN })
		c.order(resumed)
		c.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		c.order(but(resumed, func(o *wire.Order) { o.Want, o.KillDelayMs = wire.Want_WANT_STOP, 20_000 }))
		end := c.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_STOPPED, 9)
		if end.GetEnd().GetStdout().GetSize() == 0 || len(end.GetFrozen()) != 1 {
			t.Errorf("log or pause is missing: %v", end)
		}
		c.forget(1)
	})
}

func TestRealStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("without root tasks run as their executor")
	}
	c := newCluster(t)
	dir := t.TempDir()
	onRealMachine(t, c, dir, func(func()) {
		c.order(shell(1, fmt.Sprintf(`id -u; cat %[1]s/executor/seen; ls %[1]s/executor; cat ../journal; touch ../x; true`, dir)))
		end := c.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_EXITED, 0)
		d, _ := digestOf(end.GetEnd().GetStdout().GetDigest())
		got := locked(c, func() string { return string(c.blobs[d]) })
		if got == "" || got == "0\n" || strings.Count(got, "\n") != 1 {
			t.Errorf("a task as another user reads %q", got)
		}
		c.forget(1)
	})
}

// cpuMicros is the processor time of this process and its children, the shims and their tasks among them.
func cpuMicros() float64 {
	var sum float64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if syscall.Getrusage(who, &r) == nil {
			sum += float64(r.Utime.Sec+r.Stime.Sec)*1e6 + float64(r.Utime.Usec+r.Stime.Usec)
		}
	}
	return sum
}

// BenchmarkNoOp takes no-op tasks from the order to the acknowledged end, with limits on: 64 at once.
func BenchmarkNoOp(b *testing.B) {
	c := newCluster(nil)
	onRealMachine(b, c, b.TempDir(), func(func()) {
		const atOnce = 64
		next, ended := uint64(0), 0
		more := func(n int) {
			for range n {
				if next++; next > uint64(b.N) {
					return
				}
				o := running(next, "/bin/true")
				o.Spec.Driver, o.Spec.CpuMilli, o.Spec.MemoryBytes = "process", 1000, 256<<20
				c.orders[next] = o
			}
		}
		before := cpuMicros()
		b.ResetTimer()
		c.change(func() { more(atOnce); c.push() })
		for ended < b.N {
			c.mu.Lock()
			n := 0
			for run := range c.orders {
				if c.runs[run].GetState() == wire.RunState_RUN_STATE_ENDED {
					delete(c.orders, run)
					n++
				}
			}
			if ended += n; n > 0 {
				more(n)
				c.push()
			}
			changed := c.changed
			c.mu.Unlock()
			if ended < b.N {
				<-changed
			}
		}
		b.ReportMetric((cpuMicros()-before)/float64(b.N), "cpu-us/op")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	})
}
