package vm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/tasks"
	"github.com/coinop/coinop/drivers/vm/guest"
	"github.com/coinop/coinop/drivers/vm/monitor"
)

// Exec implements drivers.Driver. The command is started by the machine's first process; the monitor passes its streams on.
func (d *Driver) Exec(ctx context.Context, id string, r drivers.ExecRequest, streams drivers.ExecStreams) (drivers.Exit, error) {
	request := monitor.Request{Do: "exec", Argv: bytesOf(r.Argv), Env: bytesOf(r.Env), Terminal: r.Terminal, Rows: r.Rows, Cols: r.Cols}
	if r.Connect != 0 {
		request = monitor.Request{Do: "connect", Port: r.Connect}
	} else if err := tasks.CheckExec(id, r); err != nil {
		return drivers.Exit{}, err
	}
	dir, err := d.Running(ctx, id)
	if err != nil {
		return drivers.Exit{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := d.patiently(ctx, id, dir, request)
	if err != nil {
		return drivers.Exit{}, fmt.Errorf("exec in task %s: %w", id, err)
	}
	defer conn.Close()
	e := &execution{conn: conn, request: r, streams: streams, room: make(chan uint32, 1), left: guest.Window}
	go e.send(ctx)
	go e.resize(ctx)
	exit, err := e.receive()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return drivers.Exit{}, fmt.Errorf("exec in task %s: %w", id, err)
	}
	return exit, nil
}

// execution is one Exec under way.
type execution struct {
	conn    *net.UnixConn
	request drivers.ExecRequest
	streams drivers.ExecStreams
	room    chan uint32 // what the machine has taken, all in one if nobody looked
	left    uint32      // what may be sent; only send uses it
}

// send passes the caller's input on, as the machine has room. A read under way when the command ends ends when the caller closes it.
func (e *execution) send(ctx context.Context) {
	buffer := make([]byte, 16<<10)
	for e.streams.Stdin != nil {
		for e.left == 0 {
			select {
			case n := <-e.room:
				e.left = min(e.left+n, guest.Window)
			case <-ctx.Done():
				return
			}
		}
		n, err := e.streams.Stdin.Read(buffer[:min(uint32(len(buffer)), e.left)])
		if n > 0 && guest.Write(e.conn, guest.Frame{Kind: guest.AskData, Data: buffer[:n]}) != nil {
			return
		}
		e.left -= uint32(n)
		if err != nil {
			break
		}
	}
	_ = guest.Write(e.conn, guest.Frame{Kind: guest.AskEnd}) // a command that has ended wants no input
}

func (e *execution) resize(ctx context.Context) {
	for {
		select {
		case size, ok := <-e.streams.Resize:
			data := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(size.Rows)), uint32(size.Cols))
			if !ok || guest.Write(e.conn, guest.Frame{Kind: guest.AskSize, Data: data}) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// receive passes output on until the command has ended.
func (e *execution) receive() (drivers.Exit, error) {
	for {
		f, err := guest.Read(e.conn, guest.TellMax)
		if err != nil { // the monitor has ended
			return drivers.Exit{Code: 137, Signal: 9, Cause: drivers.CauseStopped, Message: "it ended with its task"}, nil //nolint:nilerr // no answer is one
		}
		switch f.Kind {
		case guest.TellOut:
			err = write(e.streams.Stdout, f.Data)
		case guest.TellErr:
			err = write(e.streams.Stderr, f.Data)
		case guest.TellOutEnd:
			if e.streams.StdoutEnd != nil {
				e.streams.StdoutEnd()
			}
		case guest.TellCredit:
			err = e.more(f.Data)
		case guest.TellExit:
			return e.exit(f.Data)
		}
		if err != nil {
			return drivers.Exit{}, err
		}
	}
}

func write(to io.Writer, data []byte) error {
	if to == nil {
		return nil
	}
	if _, err := to.Write(data); err != nil {
		return fmt.Errorf("pass output on: %w", err)
	}
	return nil
}

func (e *execution) more(data []byte) error {
	if len(data) != 4 {
		return errors.New("its monitor talks nonsense")
	}
	n := binary.LittleEndian.Uint32(data)
	select {
	case before := <-e.room:
		n = min(n, guest.Window) + before
	default:
	}
	e.room <- n
	return nil
}

// exit is how a command ended, by the machine's word.
func (e *execution) exit(data []byte) (drivers.Exit, error) {
	a, err := shim.ReadAnswer(bytes.NewReader(data))
	if err != nil {
		return drivers.Exit{}, errors.New("its machine talks nonsense")
	}
	switch {
	case a.Errno != 0:
		exit := drivers.Exit{Code: 125, Cause: drivers.CauseStartFailed, Message: strings.ToValidUTF8(a.Step, "?") + ": " + a.Errno.Error()}
		if a.Step == shim.StepExecute && len(e.request.Argv) > 0 {
			exit.Code, exit.Message = 126, a.Step+" "+e.request.Argv[0]+": "+a.Errno.Error()
			if a.Errno == syscall.ENOENT || a.Errno == syscall.ENOTDIR {
				exit.Code = 127
			}
		}
		return exit, nil
	case a.Status.Signaled():
		signal := int(a.Status.Signal())
		return drivers.Exit{Code: 128 + signal, Signal: signal, Cause: drivers.CauseSignalled}, nil
	}
	return drivers.Exit{Code: a.Status.ExitStatus(), Cause: drivers.CauseExited}, nil
}
