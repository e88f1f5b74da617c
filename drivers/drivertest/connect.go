package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/coinop/coinop/drivers"
)

func connectChecks() []Check {
	connects := func(h Harness, d drivers.Description) bool {
		if !d.Images { // then the machine's own programs run, which must have one that listens
			if _, err := exec.LookPath("busybox"); err != nil {
				return false
			}
		}
		return h.Programs && d.Connect
	}
	return []Check{
		{Name: "a port of a task is reached, and each direction ends by itself", Needs: connects, Run: connectBothWays},
		{Name: "a port that is not the task's is refused", Needs: connects, Run: connectRefused},
		{Name: "a connection ends with its caller, and with its task", Needs: connects, Run: connectStops},
		{Name: "a task may hold its place and run nothing", Needs: func(_ Harness, d drivers.Description) bool { return d.Exec }, Run: holdsPlace},
		{Name: "a task reads what it is told, and cannot change it", Needs: func(h Harness, d drivers.Description) bool {
			return h.Programs && d.Exec && d.NoticeDir != ""
		}, Run: readsNotices},
	}
}

// freePort is one on which nobody on this machine listens.
func freePort() (uint16, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port), nil
}

// listener starts a task that runs a script for each connection, and waits until it listens: by connections that say nothing,
// at which the script has to end.
func (s *Session) listener(script string) (drivers.Task, uint16, error) {
	port, err := freePort()
	if err != nil {
		return drivers.Task{}, 0, err
	}
	task, err := s.task("busybox", "nc", "-ll", "-p", strconv.Itoa(int(port)), "-e", "/bin/sh", "-c", script)
	if err != nil {
		return task, 0, err
	}
	if _, err := s.running(task); err != nil {
		return task, 0, err
	}
	for s.ctx.Err() == nil {
		exit, err := s.connect(s.ctx, task.ID, port, drivers.ExecStreams{})
		if err != nil || exit.Cause != drivers.CauseStartFailed {
			return task, port, err
		}
		time.Sleep(time.Millisecond) // nobody tells when a program has begun to listen
	}
	return task, 0, errors.New("its port was never reached")
}

func (s *Session) connect(ctx context.Context, id string, port uint16, streams drivers.ExecStreams) (drivers.Exit, error) {
	return s.Driver().Exec(ctx, id, drivers.ExecRequest{Connect: port}, streams)
}

func connectBothWays(s *Session) error {
	// It answers only when it has seen the end of what it is told: that end is passed on, and the answer still comes.
	task, port, err := s.listener("tr a-z A-Z; echo bye")
	if err != nil {
		return err
	}
	said := bytes.Repeat([]byte("hello\x00\xff\n"), 50_000)
	var out bytes.Buffer
	exit, err := s.connect(s.ctx, task.ID, port, drivers.ExecStreams{Stdin: bytes.NewReader(said), Stdout: &out})
	if err != nil || exit.Code != 0 {
		return fmt.Errorf("it ended as %+v, %w", exit, err)
	}
	if want := append(bytes.ReplaceAll(said, []byte("hello"), []byte("HELLO")), "bye\n"...); !bytes.Equal(out.Bytes(), want) {
		return fmt.Errorf("of %d bytes %d came back, or not the same", len(want), out.Len())
	}
	// And the other way: the task's word has ended, and the caller's has not.
	if task, port, err = s.listener("echo first"); err != nil {
		return err
	}
	input, typed := io.Pipe()
	ended := make(chan struct{})
	out.Reset()
	done := make(chan error, 1)
	go func() {
		_, err := s.connect(s.ctx, task.ID, port, drivers.ExecStreams{Stdin: input, Stdout: &out, StdoutEnd: func() { close(ended) }})
		done <- err
	}()
	select {
	case <-ended:
	case err := <-done:
		return fmt.Errorf("it ended while its caller had more to say, and said nothing of the task's end: %w", err)
	case <-s.ctx.Done():
		return errors.New("the end of what the task says was never told")
	}
	typed.Close()
	return errors.Join(<-done, expect("what the task said", out.String(), "first\n"))
}

func connectRefused(s *Session) error {
	task, port, err := s.listener("cat")
	if err != nil {
		return err
	}
	other, err := s.host(nil)
	if err != nil {
		return err
	}
	service, err := net.Listen("tcp", "127.0.0.1:0") // of the machine
	if err != nil {
		return err
	}
	defer service.Close()
	closed, err := freePort()
	if err != nil {
		return err
	}
	for _, try := range []struct {
		what string
		id   string
		port uint16
	}{
		{"a port on which nobody listens", task.ID, closed},
		{"a service of the machine", task.ID, uint16(service.Addr().(*net.TCPAddr).Port)},
		{"a port of another task", other.ID, port},
	} {
		exit, err := s.connect(s.ctx, try.id, try.port, drivers.ExecStreams{})
		if err != nil {
			return fmt.Errorf("%s: %w", try.what, err)
		}
		if exit.Cause != drivers.CauseStartFailed || exit.Code == 0 || exit.Message == "" {
			return fmt.Errorf("%s: %+v, want it refused, with a reason", try.what, exit)
		}
	}
	if _, err := s.connect(s.ctx, "none", port, drivers.ExecStreams{}); !errors.Is(err, drivers.ErrNoTask) {
		return fmt.Errorf("a port of no task: %v, want %v", err, drivers.ErrNoTask)
	}
	if err := s.control(other.ID, drivers.Control{Kind: drivers.Kill}); err != nil {
		return err
	}
	if _, err := s.awaitEnd(other.ID); err != nil {
		return err
	}
	if _, err := s.connect(s.ctx, other.ID, port, drivers.ExecStreams{}); !errors.Is(err, drivers.ErrEnded) {
		return fmt.Errorf("a port of an ended task: %v, want %v", err, drivers.ErrEnded)
	}
	return nil
}

func connectStops(s *Session) error {
	task, port, err := s.listener("read word || exit; echo begun; sleep 1000")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	for _, end := range []struct {
		what string
		by   func() error
		want error
	}{
		{"its caller", func() error { cancel(); return nil }, context.Canceled},
		{"its task", func() error { return s.control(task.ID, drivers.Control{Kind: drivers.Kill}) }, nil},
	} {
		input, typed := io.Pipe()
		began, done := make(chan struct{}), make(chan error, 1)
		go io.WriteString(typed, "go\n") //nolint:errcheck // it ends with the pipe
		go func() {
			_, err := s.connect(ctx, task.ID, port, drivers.ExecStreams{Stdin: input, Stdout: closing{began}})
			done <- err
		}()
		select {
		case <-began:
		case err := <-done:
			return fmt.Errorf("it ended at once: %w", err)
		case <-s.ctx.Done():
			return errors.New("it never began")
		}
		if err := end.by(); err != nil {
			return err
		}
		select {
		case err := <-done:
			if !errors.Is(err, end.want) {
				return fmt.Errorf("it ended with %s as %w, want %w", end.what, err, end.want)
			}
		case <-s.ctx.Done():
			return fmt.Errorf("it lives on without %s", end.what)
		}
		typed.Close()
		ctx = s.ctx
	}
	return nil
}

func holdsPlace(s *Session) error {
	task, err := s.task()
	if err != nil {
		return err
	}
	task.Hold = true
	if _, err := s.running(task); err != nil {
		return err
	}
	if s.Programs {
		if exit, err := s.exec(task.ID, "exit 3", drivers.ExecRequest{}, drivers.ExecStreams{}); err != nil || exit.Code != 3 {
			return fmt.Errorf("a command beside it ended as %+v, %w", exit, err)
		}
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Stop}); err != nil {
		return err
	}
	st, err := s.awaitEnd(task.ID)
	if err != nil {
		return err
	}
	if err := expectEnd(st, 143, 15, drivers.CauseStopped); err != nil {
		return err
	}
	both, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	both.Hold = true
	if _, err := s.start(both); !errors.Is(err, drivers.ErrInvalid) {
		return fmt.Errorf("a command for a task that is to run none: %v, want %v", err, drivers.ErrInvalid)
	}
	return nil
}

func readsNotices(s *Session) error {
	dir := ""
	task, err := s.host(func(t *drivers.Task) {
		dir = filepath.Join(filepath.Dir(t.Dir), "notices")
		t.NoticeDir = dir
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "notice"), []byte("first"), 0o644) //nolint:gosec // for the task's user
		}
		if err != nil {
			t.NoticeDir = "" // and the check fails
		}
	})
	if err != nil {
		return err
	}
	read := func() (string, error) {
		var out bytes.Buffer
		exit, err := s.exec(task.ID, "cat "+s.description.NoticeDir+"/notice 2>&1", drivers.ExecRequest{}, drivers.ExecStreams{Stdout: &out})
		if err == nil && exit.Code != 0 {
			err = fmt.Errorf("%s: %+v", out.String(), exit)
		}
		return out.String(), err
	}
	first, err := read()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "next"), []byte("second"), 0o644); err != nil { //nolint:gosec // for the task's user
		return err
	}
	if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "notice")); err != nil {
		return err
	}
	second, err := read()
	if err != nil {
		return err
	}
	exit, err := s.exec(task.ID, "echo mine >"+s.description.NoticeDir+"/notice || rm "+s.description.NoticeDir+"/notice", drivers.ExecRequest{}, drivers.ExecStreams{})
	if err != nil {
		return err
	}
	if exit.Code == 0 {
		return errors.New("the task could change what it is told")
	}
	return errors.Join(expect("what it is told", first, "first"), expect("what it is told next", second, "second"))
}
