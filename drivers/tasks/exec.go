package tasks

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
)

// Exec implements drivers.Driver for tasks without a container: the shim begins the command, so that it is the task's like
// any other of its processes, and the first of them calls here for its streams.
func (d *Set) Exec(ctx context.Context, id string, r drivers.ExecRequest, streams drivers.ExecStreams) (drivers.Exit, error) {
	if r.Connect != 0 {
		return d.Connect(ctx, id, r.Connect, streams)
	}
	if err := CheckExec(id, r); err != nil {
		return drivers.Exit{}, err
	}
	t, err := d.find(id)
	if err != nil {
		return drivers.Exit{}, err
	}
	e := &Execution{Request: r, Streams: streams}
	exit, err := e.Run(ctx, func(ctx context.Context) error { return t.beside(ctx, e) }, shim.Inside{Env: r.Env})
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return drivers.Exit{}, fmt.Errorf("exec in task %s: %w", id, err)
	}
	return exit, nil
}

// linesDir holds sockets for moments.
func (d *Set) linesDir() string { return filepath.Join(d.config.Dir, "exec") }

// beside has the shim begin a command's first process, and connects that with the caller.
func (t *task) beside(ctx context.Context, e *Execution) error {
	number := t.driver.commands.Add(1)
	socket, err := Listen(t.driver.linesDir(), strconv.FormatUint(number, 10))
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := t.command(ctx, shim.Message{Kind: shim.CommandExec, Arg: number}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { socket.UnixListener.Close() })()
	conn, err := socket.AcceptUnix()
	if err != nil {
		return t.orEnded(ctx, fmt.Errorf("wait for its first process: %w", err))
	}
	if err := e.converse(ctx, conn); err != nil {
		conn.Close()
		return t.orEnded(ctx, err)
	}
	e.Line = conn
	return nil
}

// orEnded says that a task has ended, where that explains an error.
func (t *task) orEnded(ctx context.Context, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() == nil && (t.final || t.removed) {
		return drivers.ErrEnded
	}
	return err
}

// converse gives the process its streams, or takes the terminal that it makes.
func (e *Execution) converse(ctx context.Context, conn *net.UnixConn) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	streams := make([]byte, 8) // struct streams of shim/c/beside.c
	if !e.Request.Terminal {
		return e.givePipes(conn, streams)
	}
	binary.NativeEndian.PutUint32(streams, 1)
	binary.NativeEndian.PutUint16(streams[4:], e.Request.Rows)
	binary.NativeEndian.PutUint16(streams[6:], e.Request.Cols)
	if _, err := conn.Write(streams); err != nil {
		return err
	}
	terminal, said, err := ReceiveTerminal(conn)
	if err != nil {
		return fmt.Errorf("take its terminal: %w", err)
	}
	if terminal == nil { // then it is why there is none
		answer, err := shim.ReadAnswer(bytes.NewReader(said))
		if err != nil {
			return err
		}
		return fmt.Errorf("%s: %w", answer.Step, answer.Errno)
	}
	return e.CopyTerminal(ctx, terminal)
}

func (e *Execution) givePipes(conn *net.UnixConn, streams []byte) error {
	theirs, err := e.Pipes()
	if err == nil {
		var rights []int
		for _, file := range theirs {
			rights = append(rights, int(file.Fd()))
		}
		_, _, err = conn.WriteMsgUnix(streams, unix.UnixRights(rights...), nil)
	}
	for _, file := range theirs {
		file.Close()
	}
	if err == nil {
		e.CopyPipes()
	}
	return err
}
