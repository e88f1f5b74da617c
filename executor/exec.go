package executor

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

// execStream is a command's line to the server that asked for it.
type execStream = grpc.BidiStreamingServer[wire.ExecInput, wire.ExecOutput]

// Exec implements wire.NodeServer.
func (n *node) Exec(stream execStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if (len(start.GetArgv()) == 0) == (start.GetConnect() == 0) || start.GetConnect() > math.MaxUint16 {
		return status.Error(codes.InvalidArgument, "it must be said which command, or which port")
	}
	e := n.executor
	e.mu.Lock()
	r := e.runs[start.GetRun()]
	e.mu.Unlock()
	if r == nil {
		return status.Errorf(codes.NotFound, "run %d is not on this machine", start.GetRun())
	}
	exit, err := e.execIn(stream, r, start)
	switch {
	case errors.Is(err, drivers.ErrUnsupported) && start.GetConnect() != 0:
		return status.Errorf(codes.Unimplemented, "driver %s connects to no port of a task; container does", r.spec().GetDriver())
	case errors.Is(err, drivers.ErrUnsupported):
		return status.Errorf(codes.Unimplemented, "driver %s runs no second command in a task; process, container and vm do", r.spec().GetDriver())
	case errors.Is(err, drivers.ErrNoTask), errors.Is(err, drivers.ErrEnded):
		return status.Error(codes.NotFound, "the task does not run")
	case err != nil:
		return err
	}
	return stream.Send(&wire.ExecOutput{End: &wire.ExecEnd{Code: int32(exit.Code), Message: plainText(exit.Message)}})
}

func (e *Executor) execIn(stream execStream, r *run, start *wire.ExecStart) (drivers.Exit, error) {
	driver := e.config.Drivers[r.spec().GetDriver()]
	if driver == nil {
		return drivers.Exit{}, drivers.ErrUnsupported
	}
	input, feed := io.Pipe()
	sizes := make(chan drivers.TerminalSize, 1)
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer input.Close()
	go feedExec(ctx, stream, feed, sizes) // ends with the stream, which ends when Exec returns
	var sending sync.Mutex
	send := func(wrap func([]byte) *wire.ExecOutput) io.Writer {
		return writerFunc(func(p []byte) error {
			sending.Lock()
			defer sending.Unlock()
			return stream.Send(wrap(p))
		})
	}
	size := start.GetTerminal()
	return driver.Exec(ctx, r.journal.task, drivers.ExecRequest{
		Argv: start.GetArgv(), Env: start.GetEnv(), Terminal: size != nil, Rows: uint16(size.GetRows()), Cols: uint16(size.GetCols()),
		Connect: uint16(start.GetConnect()),
	}, drivers.ExecStreams{
		Stdin:  input,
		Stdout: send(func(p []byte) *wire.ExecOutput { return &wire.ExecOutput{Stdout: p} }),
		Stderr: send(func(p []byte) *wire.ExecOutput { return &wire.ExecOutput{Stderr: p} }),
		StdoutEnd: func() {
			sending.Lock()
			defer sending.Unlock()
			_ = stream.Send(&wire.ExecOutput{StdoutEnd: true}) // who has gone need not know
		},
		Resize: sizes,
	})
}

// feedExec passes on what the command reads, until the call ends.
func feedExec(ctx context.Context, stream execStream, feed *io.PipeWriter, sizes chan<- drivers.TerminalSize) {
	defer feed.Close()
	for {
		m, err := stream.Recv()
		if err != nil {
			return
		}
		if len(m.GetStdin()) > 0 {
			// Who has stopped reading hears nothing more; a new size still counts.
			_, _ = feed.Write(m.GetStdin())
		}
		if m.GetStdinEnd() {
			feed.Close()
		}
		if size := m.GetSize(); size != nil {
			select {
			case sizes <- drivers.TerminalSize{Rows: uint16(size.GetRows()), Cols: uint16(size.GetCols())}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// writerFunc is a function as an io.Writer.
type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
