package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/plugin/driverpb"
)

// Exec carries the streams of a command in a task.
func (s *server) Exec(stream driverpb.Driver_ExecServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return toWire(fmt.Errorf("%w: an exec begins with its command", drivers.ErrInvalid))
	}
	input, feed := io.Pipe()
	defer input.Close()
	resize := make(chan drivers.TerminalSize, 1)
	var sending sync.Mutex
	request := drivers.ExecRequest{
		Argv: texts(start.GetArgv()), Env: texts(start.GetEnv()), Terminal: start.GetTerminal(),
		Rows: uint16(start.GetRows()), Cols: uint16(start.GetCols()), Connect: uint16(start.GetConnect()),
	}
	go receiveInput(stream, feed, resize) // ends with the stream, which ends when this function returns
	exit, err := s.driver.Exec(stream.Context(), start.GetId(), request, drivers.ExecStreams{
		Stdin:  input,
		Stdout: sender{&sending, func(p []byte) error { return stream.Send(&driverpb.ExecResponse{Stdout: p}) }},
		Stderr: sender{&sending, func(p []byte) error { return stream.Send(&driverpb.ExecResponse{Stderr: p}) }},
		StdoutEnd: func() {
			sending.Lock()
			defer sending.Unlock()
			_ = stream.Send(&driverpb.ExecResponse{StdoutEnd: true}) // who has gone need not know
		},
		Resize: resize,
	})
	if err != nil {
		return toWire(err)
	}
	sending.Lock()
	defer sending.Unlock()
	last := exitToWire(exit)
	if last == nil {
		last = &driverpb.Exit{}
	}
	return stream.Send(&driverpb.ExecResponse{Exit: last})
}

func receiveInput(stream driverpb.Driver_ExecServer, feed *io.PipeWriter, resize chan<- drivers.TerminalSize) {
	defer feed.Close()
	for {
		m, err := stream.Recv()
		if err != nil {
			return
		}
		if len(m.GetStdin()) > 0 {
			if _, err := feed.Write(m.GetStdin()); err != nil {
				return
			}
		}
		if m.GetStdinEnd() {
			feed.Close()
		}
		if size := m.GetResize(); size != nil {
			select {
			case resize <- drivers.TerminalSize{Rows: uint16(size.GetRows()), Cols: uint16(size.GetCols())}:
			case <-stream.Context().Done():
				return
			}
		}
	}
}

// sender is an io.Writer onto a stream, on which only one may send at a time.
type sender struct {
	mu   *sync.Mutex
	send func([]byte) error
}

func (s sender) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Exec implements drivers.Driver. It is not repeated by itself: the command may have run.
func (c *Client) Exec(ctx context.Context, id string, r drivers.ExecRequest, streams drivers.ExecStreams) (drivers.Exit, error) {
	l, err := c.Current(ctx)
	if err != nil {
		return drivers.Exit{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := l.api.Exec(ctx)
	if err != nil {
		return drivers.Exit{}, fromWire(err)
	}
	var sending sync.Mutex
	send := func(m *driverpb.ExecRequest) error {
		sending.Lock()
		defer sending.Unlock()
		return stream.Send(m)
	}
	start := &driverpb.ExecStart{
		Id: id, Argv: byteSlices(r.Argv), Env: byteSlices(r.Env), Terminal: r.Terminal, Rows: uint32(r.Rows), Cols: uint32(r.Cols),
		Connect: uint32(r.Connect),
	}
	if err := send(&driverpb.ExecRequest{Start: start}); err != nil && !errors.Is(err, io.EOF) { // EOF: Recv has the reason
		return drivers.Exit{}, fromWire(err)
	}
	go sendInput(streams.Stdin, send) // a blocked Read of the caller's stdin ends when the caller closes it
	go sendSizes(ctx, streams.Resize, send)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return drivers.Exit{}, fmt.Errorf("exec in task %s: %w", id, drivers.ErrUnavailable)
		}
		if err != nil {
			return drivers.Exit{}, fromWire(err)
		}
		if m.GetExit() != nil {
			return exitFromWire(m.GetExit()), nil
		}
		if err := errors.Join(pass(streams.Stdout, m.GetStdout()), pass(streams.Stderr, m.GetStderr())); err != nil {
			return drivers.Exit{}, fmt.Errorf("exec in task %s: pass output on: %w", id, err)
		}
		if m.GetStdoutEnd() && streams.StdoutEnd != nil {
			streams.StdoutEnd()
		}
	}
}

func pass(to io.Writer, p []byte) error {
	if to == nil || len(p) == 0 {
		return nil
	}
	_, err := to.Write(p)
	return err
}

func sendInput(from io.Reader, send func(*driverpb.ExecRequest) error) {
	buffer := make([]byte, 32<<10)
	for from != nil {
		n, err := from.Read(buffer)
		if n > 0 && send(&driverpb.ExecRequest{Stdin: buffer[:n]}) != nil {
			return
		}
		if err != nil {
			break
		}
	}
	_ = send(&driverpb.ExecRequest{StdinEnd: true}) // a stream that has ended wants no input
}

func sendSizes(ctx context.Context, sizes <-chan drivers.TerminalSize, send func(*driverpb.ExecRequest) error) {
	for {
		select {
		case size, ok := <-sizes:
			if !ok {
				return
			}
			resize := &driverpb.TerminalSize{Rows: uint32(size.Rows), Cols: uint32(size.Cols)}
			if send(&driverpb.ExecRequest{Resize: resize}) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
