// Package cluster runs real coinop processes on loopback.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTicks is USER_HZ, which is 100 on every Linux that Go runs on.
const clockTicks = 100

// look is how often a file or another process is looked at.
const look = 20 * time.Millisecond

// Process is one daemon. Its output goes to files, so that it can outlive whoever started it.
type Process struct {
	Name string
	Args []string
	cmd  *exec.Cmd
	out  string
	err  string
	done chan struct{} // closed when it has ended and was waited for
}

// start starts a process in its cluster's folder and in a group of its own: a terminal's Ctrl-C then reaches only who started it.
func start(dir, name string, env []string, binary string, args ...string) (*Process, error) {
	p := &Process{Name: name, Args: args, done: make(chan struct{}),
		out: filepath.Join(dir, name+".out"), err: filepath.Join(dir, name+".log")}
	stdout, err := os.Create(p.out)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer stdout.Close()
	stderr, err := os.OpenFile(p.err, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer stderr.Close()
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, stdout, stderr
	p.cmd.Dir = dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.done)
	}()
	return p, nil
}

// Pid is its process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ready waits for its first line on standard output and returns it.
func (p *Process) Ready(ctx context.Context) (string, error) {
	for {
		b, err := os.ReadFile(p.out)
		if err != nil {
			return "", fmt.Errorf("wait for %s: %w", p.Name, err)
		}
		if line, _, whole := bytes.Cut(b, []byte("\n")); whole {
			return string(line), nil
		}
		select {
		case <-p.done:
			return "", fmt.Errorf("%s ended (%s) before it was ready:\n%s", p.Name, p.cmd.ProcessState, p.LogTail(20))
		case <-ctx.Done():
			return "", fmt.Errorf("%s was not ready in time: %w\n%s", p.Name, ctx.Err(), p.LogTail(20))
		case <-time.After(look):
		}
	}
}

// LogTail is the end of what it wrote to standard error.
func (p *Process) LogTail(lines int) string {
	b, err := os.ReadFile(p.err)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Kill ends it with SIGKILL and waits.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Signal sends a signal to it alone; one that has ended needs none.
func (p *Process) Signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return fmt.Errorf("send %s to %s: %w", s, p.Name, err)
}

// Stop ends it with SIGTERM and waits; what does not end in time is killed, which is an error.
func (p *Process) Stop(patience time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("%s did not end within %s of SIGTERM:\n%s", p.Name, patience, p.LogTail(20)), p.Kill())
	}
}

// Ended says whether it has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ExitCode is how it ended; -1 for a signal.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// CPU is the processor time that it has used so far, its children that have ended among it.
func (p *Process) CPU() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return 0, fmt.Errorf("read the processor time of %s: %w", p.Name, err)
	}
	_, rest, _ := bytes.Cut(text, []byte(") ")) // its name may hold spaces
	fields := strings.Fields(string(rest))
	var ticks int64
	for i := 11; i <= 14 && i < len(fields); i++ { // utime, stime, cutime, cstime: proc_pid_stat(5)
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the processor time of %s: %w", p.Name, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}

// Memory is what it holds in memory now, in bytes.
func (p *Process) Memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid()))
	if err != nil {
		return 0, fmt.Errorf("read the memory of %s: %w", p.Name, err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("read the memory of %s: %q", p.Name, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the memory of %s: %w", p.Name, err)
	}
	return pages * int64(os.Getpagesize()), nil
}
