package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/coinop/coinop/drivers"
)

func execChecks() []Check {
	can := func(h Harness, d drivers.Description) bool { return h.Programs && d.Exec }
	both := func(h Harness, d drivers.Description) bool { return can(h, d) && d.Pause }
	return []Check{
		{Name: "exec has a terminal that can be resized", Needs: can, Run: execTerminal},
		{Name: "what a command leaves on its terminal does not keep it", Needs: can, Run: execLeavesTerminal},
		{Name: "exec tells how a command ended, or why it did not begin", Needs: can, Run: execEnds},
		{Name: "what exec runs is the task's", Needs: can, Run: execConfined},
		{Name: "exec ends with its caller, and with its task", Needs: can, Run: execStops},
		{Name: "what exec runs is frozen with its task", Needs: both, Run: execFreezes},
		{Name: "what exec leaves running ends with the task", Needs: can, Run: execLeaves},
		{Name: "exec leaves nothing when its driver dies", Needs: func(h Harness, d drivers.Description) bool { return can(h, d) && h.Restart != nil }, Run: execRestarts},
	}
}

func (s *Session) exec(id, script string, r drivers.ExecRequest, streams drivers.ExecStreams) (drivers.Exit, error) {
	r.Argv = []string{"/bin/sh", "-c", script}
	return s.Driver().Exec(s.ctx, id, r, streams)
}

// host starts a task that blocks, in which to run commands.
func (s *Session) host(change func(*drivers.Task)) (drivers.Task, error) {
	task, err := s.task(s.Block...)
	if err != nil {
		return task, err
	}
	if change != nil {
		change(&task)
	}
	_, err = s.running(task)
	return task, err
}

func execTerminal(s *Session) error {
	task, err := s.host(nil)
	if err != nil {
		return err
	}
	sizes := make(chan drivers.TerminalSize, 1)
	sizes <- drivers.TerminalSize{Rows: 50, Cols: 132}
	input, typed := io.Pipe()
	defer typed.Close()
	go io.WriteString(typed, "hello\n") //nolint:errcheck // it ends with the pipe
	var out bytes.Buffer
	exit, err := s.exec(task.ID, `stty -echo; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminal; echo word >/dev/tty; read line; echo "read $line"
		while [ "$(stty size)" != "50 132" ]; do sleep 0.02; done; echo resized; exit 4`,
		drivers.ExecRequest{Terminal: true, Rows: 24, Cols: 80}, drivers.ExecStreams{Stdin: input, Stdout: &out, Resize: sizes})
	if err != nil {
		return err
	}
	for _, want := range []string{"terminal\r\n", "word\r\n", "read hello\r\n", "resized\r\n"} {
		if !strings.Contains(out.String(), want) {
			return fmt.Errorf("%q is not in %q", want, out.String())
		}
	}
	out.Reset()
	if _, err := s.exec(task.ID, "stty size", drivers.ExecRequest{Terminal: true, Rows: 33, Cols: 77}, drivers.ExecStreams{Stdout: &out}); err != nil {
		return err
	}
	return errors.Join(expect("code", exit.Code, 4), expect("first size", out.String(), "33 77\r\n"))
}

// execLeavesTerminal: who leaves a shell leaves, though a server that it has begun goes on.
func execLeavesTerminal(s *Session) error {
	task, err := s.host(nil)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	exit, err := s.exec(task.ID, "trap '' HUP; sleep 1000 & echo left; exit 4", drivers.ExecRequest{Terminal: true, Rows: 24, Cols: 80}, drivers.ExecStreams{Stdout: &out})
	if err != nil {
		return err
	}
	return errors.Join(expect("code", exit.Code, 4), expect("output", out.String(), "left\r\n"))
}

func execEnds(s *Session) error {
	task, err := s.host(nil)
	if err != nil {
		return err
	}
	exit, err := s.exec(task.ID, "kill -TERM $$", drivers.ExecRequest{}, drivers.ExecStreams{})
	if err != nil {
		return err
	}
	if exit.Code != 143 || exit.Signal != 15 || exit.Cause != drivers.CauseSignalled {
		return fmt.Errorf("killed by a signal it ended as %+v", exit)
	}
	for command, code := range map[string]int{"/nowhere/to/be/found": 127, "no-such-program": 127, "/etc/passwd": 126} {
		exit, err := s.Driver().Exec(s.ctx, task.ID, drivers.ExecRequest{Argv: []string{command}}, drivers.ExecStreams{})
		if err != nil {
			return err
		}
		if exit.Code != code || exit.Cause != drivers.CauseStartFailed || exit.Message == "" {
			return fmt.Errorf("%q ended as %+v, want %d with a message", command, exit, code)
		}
	}
	if _, err := s.Driver().Exec(s.ctx, task.ID, drivers.ExecRequest{}, drivers.ExecStreams{}); !errors.Is(err, drivers.ErrInvalid) {
		return fmt.Errorf("exec of nothing: %v, want %v", err, drivers.ErrInvalid)
	}
	if _, err := s.exec("none", "true", drivers.ExecRequest{}, drivers.ExecStreams{}); !errors.Is(err, drivers.ErrNoTask) {
		return fmt.Errorf("exec in no task: %v, want %v", err, drivers.ErrNoTask)
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Kill}); err != nil {
		return err
	}
	if _, err := s.awaitEnd(task.ID); err != nil {
		return err
	}
	if _, err := s.exec(task.ID, "true", drivers.ExecRequest{}, drivers.ExecStreams{}); !errors.Is(err, drivers.ErrEnded) {
		return fmt.Errorf("exec in an ended task: %v, want %v", err, drivers.ErrEnded)
	}
	return nil
}

// rights is what of a process's status says what it may do.
func rights(status string) string {
	var all []string
	for line := range strings.Lines(status) {
		name, _, _ := strings.Cut(line, ":")
		if slices.Contains([]string{"NoNewPrivs", "Seccomp", "CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"}, name) {
			all = append(all, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(all, ", ")
}

// execConfined: else a shell would be a way around every limit, and around paying. What the task itself may do is what it
// says, since there may be a kernel of its own between it and us.
func execConfined(s *Session) error {
	task, err := s.shell("cat /proc/self/status; sleep 1000")
	if err != nil {
		return err
	}
	task.Env = append(task.Env, "OWN=task's")
	if supports(s.description, drivers.LimitPids) {
		task.PidsMax = 8
	}
	if _, err := s.running(task); err != nil {
		return err
	}
	if err := s.awaitReady(task.ID); err != nil {
		return err
	}
	var out bytes.Buffer
	if _, err := s.exec(task.ID, `echo "$OWN $MORE $PWD"; cat /proc/self/status`, drivers.ExecRequest{Env: []string{"MORE=and more"}},
		drivers.ExecStreams{Stdout: &out}); err != nil {
		return err
	}
	said, status, _ := strings.Cut(out.String(), "\n")
	of, err := output(task, "stdout")
	if err != nil {
		return err
	}
	if rights(of) == "" {
		return fmt.Errorf("the task says nothing of its rights: %q", of)
	}
	if err := errors.Join(expect("variables and work folder", said, "task's and more "+s.seenWorkDir()),
		expect("rights", rights(status), rights(of))); err != nil {
		return err
	}
	if !supports(s.description, drivers.LimitPids) {
		return nil
	}
	exit, err := s.exec(task.ID, "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 >/dev/null 2>&1 & done; exit 0", drivers.ExecRequest{}, drivers.ExecStreams{})
	if err != nil {
		return err
	}
	if exit.Code == 0 {
		return errors.New("ten processes beside a task that may have eight")
	}
	return nil
}

// begin runs a command that goes on until it is stopped, and waits for its first word.
func (s *Session) begin(ctx context.Context, id, word string) (ended <-chan error, err error) {
	input, typed := io.Pipe()
	began, end := make(chan struct{}), make(chan error, 1)
	go func() {
		defer typed.Close()
		_, err := s.Driver().Exec(ctx, id, drivers.ExecRequest{Argv: []string{"/bin/sh", "-c", "echo begun; sleep 1000; echo"}, Env: []string{word}},
			drivers.ExecStreams{Stdin: input, Stdout: closing{began}})
		end <- err
	}()
	select {
	case <-began:
		return end, nil
	case err := <-end:
		return nil, fmt.Errorf("it ended at once: %w", err)
	case <-s.ctx.Done():
		return nil, errors.New("it never began")
	}
}

func (s *Session) gone(word string) error {
	for s.ctx.Err() == nil {
		left, err := s.marked(word)
		if err != nil || left == 0 {
			return err
		}
	}
	return errors.New("the command lives on")
}

func execStops(s *Session) error {
	task, err := s.host(nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	first, second := "EXEC=1."+task.ID, "EXEC=2."+task.ID
	ended, err := s.begin(ctx, task.ID, first)
	if err != nil {
		return err
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("left alone it ended with %w, want %w", err, context.Canceled)
		}
	case <-s.ctx.Done():
		return errors.New("exec lives on without its caller")
	}
	if err := s.gone(first); err != nil {
		return err
	}
	if ended, err = s.begin(s.ctx, task.ID, second); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Kill}); err != nil {
		return err
	}
	select {
	case err = <-ended:
		if err != nil {
			return fmt.Errorf("the end of its task: %w", err)
		}
	case <-s.ctx.Done():
		return errors.New("exec lives on without its task")
	}
	return s.gone(second)
}

// tally counts what is written to it.
type tally struct{ n atomic.Int64 }

func (t *tally) Write(p []byte) (int, error) {
	t.n.Add(int64(len(p)))
	return len(p), nil
}

func execFreezes(s *Session) error {
	task, err := s.host(nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var said tally
	go s.Driver().Exec(ctx, task.ID, drivers.ExecRequest{Argv: []string{"/bin/sh", "-c", "while :; do echo tick; sleep 0.01; done"}}, drivers.ExecStreams{Stdout: &said}) //nolint:errcheck // it ends with the check
	for s.ctx.Err() == nil && said.n.Load() == 0 {
		if err := s.elapse(); err != nil {
			return err
		}
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Freeze}); err != nil {
		return err
	}
	if err := s.elapse(); err != nil { // what was on its way comes
		return err
	}
	before := said.n.Load()
	if err := s.elapse(); err != nil {
		return err
	}
	if err := expect("bytes written while frozen", said.n.Load()-before, int64(0)); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Thaw}); err != nil {
		return err
	}
	for s.ctx.Err() == nil {
		if said.n.Load() > before {
			return nil
		}
		if err := s.elapse(); err != nil {
			return err
		}
	}
	return errors.New("it wrote nothing after it was thawed")
}

// elapse runs another task: that is time that passes.
func (s *Session) elapse() error {
	wait, err := s.task("sleep", "0.2")
	if err == nil {
		_, err = s.run(wait)
	}
	return err
}

// execLeaves: what a shell leaves running is no way around paying.
func execLeaves(s *Session) error {
	task, err := s.host(nil)
	if err != nil {
		return err
	}
	word := "LEFT=" + task.ID
	exit, err := s.exec(task.ID, "setsid sleep 1000 </dev/null >/dev/null 2>&1 & (trap '' HUP; sleep 1000 </dev/null >/dev/null 2>&1 &) ; exit 0",
		drivers.ExecRequest{Terminal: true, Env: []string{word}}, drivers.ExecStreams{})
	if err != nil || exit.Code != 0 {
		return fmt.Errorf("it ended as %+v, %w", exit, err)
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Kill}); err != nil {
		return err
	}
	if _, err := s.awaitEnd(task.ID); err != nil {
		return err
	}
	left, err := s.marked(word)
	return errors.Join(err, expect("processes left of an ended task's shell", left, 0))
}

func execRestarts(s *Session) error {
	task, err := s.host(nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	word := "EXEC=3." + task.ID
	ended, err := s.begin(ctx, task.ID, word)
	if err != nil {
		return err
	}
	if err := s.Restart(); err != nil {
		return err
	}
	cancel() // the caller's end of it dies too
	select {
	case err := <-ended:
		if err == nil {
			return errors.New("a command that was cut off ended as if it were over")
		}
	case <-s.ctx.Done():
		return errors.New("exec lives on without driver and caller")
	}
	if err := s.gone(word); err != nil {
		return err
	}
	var out bytes.Buffer
	sizes := make(chan drivers.TerminalSize, 1)
	sizes <- drivers.TerminalSize{Rows: 50, Cols: 132}
	exit, err := s.exec(task.ID, `while [ "$(stty size)" != "50 132" ]; do sleep 0.02; done; echo resized; exit 4`,
		drivers.ExecRequest{Terminal: true, Rows: 24, Cols: 80}, drivers.ExecStreams{Stdout: &out, Resize: sizes})
	if err != nil {
		return err
	}
	return errors.Join(expect("code", exit.Code, 4), expect("output", out.String(), "resized\r\n"))
}

// closing closes a channel at the first word.
type closing struct{ c chan struct{} }

func (c closing) Write(p []byte) (int, error) {
	select {
	case <-c.c:
	default:
		close(c.c)
	}
	return len(p), nil
}
