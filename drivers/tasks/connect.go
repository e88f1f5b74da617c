package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
)

// errNobody: no process of the task listens there.
var errNobody = errors.New("nothing in the task listens on it")

// Connect is drivers.ExecRequest.Connect: a connection to a port of a running task. A network of the task's own is entered;
// one that it shares with the machine has ports of others too, so there all who listen must be the task's.
func (d *Set) Connect(ctx context.Context, id string, port uint16, streams drivers.ExecStreams) (drivers.Exit, error) {
	t, err := d.find(id)
	if err != nil {
		return drivers.Exit{}, err
	}
	r, err := t.until(ctx, func(r shim.Record) bool { return r.State >= shim.Running && r.State < shim.Exited })
	if err != nil {
		return drivers.Exit{}, fmt.Errorf("connect to task %s: %w", id, err)
	}
	conn, err := t.dial(ctx, r, port)
	switch {
	case errors.Is(err, errNobody):
		return drivers.Exit{Code: 125, Cause: drivers.CauseStartFailed, Message: fmt.Sprintf("port %d: %v", port, err)}, nil
	case err != nil:
		return drivers.Exit{}, fmt.Errorf("connect to port %d of task %s: %w", port, id, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var ends sync.WaitGroup
	defer ends.Wait()
	defer cancel(nil)
	ends.Go(func() {
		if _, err := t.until(ctx, func(shim.Record) bool { return false }); errors.Is(err, drivers.ErrEnded) {
			cancel(drivers.ErrEnded)
		}
	})
	err = exchange(ctx, conn, streams)
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, drivers.ErrEnded):
		return drivers.Exit{Code: 137, Signal: 9, Cause: drivers.CauseStopped, Message: "it ended with its task"}, nil
	case cause != nil:
		return drivers.Exit{}, fmt.Errorf("connection to task %s: %w", id, cause)
	case err != nil: // as when the task ends it in anger
		return drivers.Exit{Code: 1, Cause: drivers.CauseExited, Message: err.Error()}, nil
	}
	return drivers.Exit{Cause: drivers.CauseExited}, nil
}

// exchange copies both ways until both have ended, or one has failed.
func exchange(ctx context.Context, conn *net.TCPConn, streams drivers.ExecStreams) error {
	sent := make(chan error, 1)
	go func() { // it ends when the caller closes its input, or with the first byte after the connection's end
		var err error
		if streams.Stdin != nil {
			_, err = io.Copy(conn, streams.Stdin)
		}
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	to := streams.Stdout
	if to == nil {
		to = io.Discard
	}
	if _, err := io.Copy(to, conn); err != nil {
		return err
	}
	if streams.StdoutEnd != nil {
		streams.StdoutEnd()
	}
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dial connects to the task's loopback, in whichever network that is.
func (t *task) dial(ctx context.Context, r shim.Record, port uint16) (*net.TCPConn, error) {
	pidfd, err := unix.PidfdOpen(int(r.Pid), 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, drivers.ErrEnded
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(pidfd)
	theirs, err := os.Stat(networkOf(strconv.Itoa(int(r.Pid))))
	p, there := readProcess(int(r.Pid))
	// A child of the shim, and the shim lives: so that number is still the task's own.
	if alive, aliveErr := shim.Alive(t.path); aliveErr != nil || !alive || !there || p.parent != int(r.ShimPid) || errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(drivers.ErrEnded, aliveErr)
	}
	if err != nil {
		return nil, err
	}
	ours, err := os.Stat(networkOf("self"))
	if err != nil {
		return nil, err
	}
	if os.SameFile(ours, theirs) {
		return t.dialShared(ctx, r, port)
	}
	return dialInside(ctx, pidfd, port)
}

func networkOf(pid string) string { return "/proc/" + pid + "/ns/net" }

// dialInside connects in the network of a process. The thread that goes there serves nobody else meanwhile, and never again if
// it does not come back.
func dialInside(ctx context.Context, pidfd int, port uint16) (*net.TCPConn, error) {
	type result struct {
		conn *net.TCPConn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(home)
			err = unix.Setns(pidfd, unix.CLONE_NEWNET)
		}
		if err != nil {
			runtime.UnlockOSThread() // it went nowhere
			done <- result{err: fmt.Errorf("enter the task's network: %w", err)}
			return
		}
		conn, err := dialEither(ctx, port)
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

func dialEither(ctx context.Context, port uint16) (conn *net.TCPConn, err error) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		if conn, err = dialHost(ctx, host, port); err == nil || ctx.Err() != nil {
			return conn, err
		}
	}
	return nil, err
}

func dialHost(ctx context.Context, host string, port uint16) (*net.TCPConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	// Where there is no version 6, or its loopback is down, nobody listens there either.
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.ENETUNREACH) {
		return nil, errNobody
	}
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// dialShared connects only where all who could answer are the task's: looked at before and, since one could have taken
// another's place meanwhile, after.
func (t *task) dialShared(ctx context.Context, r shim.Record, port uint16) (*net.TCPConn, error) {
	own, err := t.sockets(r)
	if err != nil {
		return nil, err
	}
	before, err := listeners(port)
	if err != nil {
		return nil, err
	}
	foreign := func(inode uint64) bool { return !own[inode] }
	if len(before) == 0 || slices.ContainsFunc(before, foreign) {
		return nil, errNobody
	}
	conn, err := dialEither(ctx, port)
	if err != nil {
		return nil, err
	}
	after, err := listeners(port)
	if err != nil || slices.ContainsFunc(after, foreign) {
		conn.Close()
		return nil, errors.Join(errNobody, err)
	}
	return conn, nil
}
