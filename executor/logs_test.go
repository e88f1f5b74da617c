package executor

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

func TestLogsAreWithTheServersBeforeTheEndIsTold(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "exit", "0")
		run.Spec.Env = []string{"print=hello\n"}
		m.cluster.order(run)
		end := m.cluster.awaitEnd(1).GetEnd()
		if end.GetStderr() != nil {
			t.Errorf("the empty stream is told as %v", end.GetStderr())
		}
		log := end.GetStdout()
		d, err := digestOf(log.GetDigest())
		if err != nil {
			t.Fatal(err)
		}
		if b := locked(m.cluster, func() []byte { return m.cluster.blobs[d] }); string(b) != "hello\n" || log.GetSize() != 6 || log.GetHeadBytes() != 6 {
			t.Errorf("the log is %v, the blob %q", log, b)
		}
	})
}

// readLog is what the server reads from the machine.
func (c *cluster) readLog(t *testing.T, request *wire.LogRequest) (string, error) {
	t.Helper()
	session := locked(c, func() *wire.Session { return c.sessions[len(c.sessions)-1] })
	stream, err := session.Node.ReadLog(context.Background(), request)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return text.String(), nil
		}
		if err != nil {
			return text.String(), err
		}
		text.Write(chunk.GetData())
	}
}

// awaitPrinted returns when a run has printed something.
func (c *cluster) awaitPrinted(t *testing.T, run uint64) {
	t.Helper()
	session := locked(c, func() *wire.Session { return c.sessions[len(c.sessions)-1] })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := session.Node.ReadLog(ctx, &wire.LogRequest{Run: run, Stream: wire.Stream_STREAM_STDOUT, Follow: true})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatalf("wait for run %d to print: %v", run, err)
	}
}

func TestServersReadALogWhileItGrows(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "run", "10s", "0")
		run.Spec.Env = []string{"print=one\n"}
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		stdout := wire.Stream_STREAM_STDOUT
		tail := int64(2)
		for want, request := range map[string]*wire.LogRequest{
			"one\n": {Run: 1, Stream: stdout}, "ne\n": {Run: 1, Stream: stdout, Offset: 1}, "e\n": {Run: 1, Stream: stdout, Tail: &tail},
			"": {Run: 1, Stream: wire.Stream_STREAM_STDERR},
		} {
			if got, err := m.cluster.readLog(t, request); got != want || err != nil {
				t.Errorf("%v gives %q, %v; want %q", request, got, err, want)
			}
		}
		more := time.AfterFunc(5*time.Second, func() { writeLog(t, filepath.Join(m.task(1).Dir, "stdout"), "one\ntwo\n") })
		defer more.Stop()
		if got, err := m.cluster.readLog(t, &wire.LogRequest{Run: 1, Stream: stdout, Follow: true}); got != "one\ntwo\n" || err != nil {
			t.Errorf("following gives %q, %v", got, err)
		}
		if m.cluster.awaitEnd(1) == nil {
			t.Error("following ended before the run")
		}
		for request, want := range map[*wire.LogRequest]codes.Code{
			{Run: 9, Stream: stdout}:             codes.NotFound,
			{Run: 1}:                             codes.InvalidArgument,
			{Run: 1, Stream: stdout, Offset: -1}: codes.InvalidArgument,
		} {
			if _, err := m.cluster.readLog(t, request); status.Code(err) != want {
				t.Errorf("%v gives %v, want %v", request, err, want)
			}
		}
	})
}

func TestFollowerOfALogDoesNotHoldUpTheExecutor(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		done := make(chan error, 1)
		go func() {
			_, err := m.cluster.readLog(t, &wire.LogRequest{Run: 1, Stream: wire.Stream_STREAM_STDOUT, Follow: true})
			done <- err
		}()
		m.wait(time.Second)
		m.stop()
		if err := <-done; err == nil {
			t.Error("following ended as if the run had")
		}
		m.start()
	})
}

func TestNoticeIsWrittenAndItsSignalSentOnce(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "stubborn")
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		noticed := but(run, func(o *wire.Order) {
			o.Notice = &wire.Notice{Reason: "low\nfunds", Signal: int32(syscall.SIGUSR1), AtUnixMs: 946684800_000}
		})
		m.cluster.order(noticed)
		m.cluster.await("the notice", func() bool { return m.cluster.runs[1].GetVersion() == noticed.GetVersion() })
		got, err := os.ReadFile(filepath.Join(m.folder(1), "notice"))
		if want := "reason=low funds\nsignal=SIGUSR1\ntime=2000-01-01T00:00:00Z\n"; string(got) != want || err != nil {
			t.Errorf("the notice is %q, %v; want %q", got, err, want)
		}
		signals := func() int { m.mu.Lock(); defer m.mu.Unlock(); return m.signals }
		if n := signals(); n != 1 {
			t.Errorf("%d signals came", n)
		}
		m.restart()
		m.wait(time.Second)
		m.cluster.cut()
		m.wait(30 * time.Second)
		if n := signals(); n != 1 {
			t.Errorf("after a restart %d signals came in all", n)
		}
	})
}

func TestDriverThatCannotPauseStopsInstead(t *testing.T) {
	onMachineWith(t, func(m *machine) {
		m.refuse = map[drivers.ControlKind]error{drivers.Freeze: drivers.ErrUnsupported}
	}, func(m *machine) {
		run := running(1, "block")
		run.Spec.KillDelayMs = 1000
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.order(but(run, func(o *wire.Order) { o.Want = wire.Want_WANT_PAUSE }))
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_STOPPED, 143)
	})
}

func TestDriverThatIsGoneForAMomentIsWaitedFor(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "block")
		m.setAway(true)
		m.cluster.order(run)
		m.wait(5 * time.Second)
		m.setAway(false)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.setAway(true)
		m.cluster.order(but(run, func(o *wire.Order) { o.Want = wire.Want_WANT_STOP }))
		m.wait(5 * time.Second)
		m.setAway(false)
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_STOPPED, 137)
		if m.starts(1) != 1 {
			t.Errorf("it was started %d times", m.starts(1))
		}
	})
}
