package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/executor/wire"
)

// execPath is where a server asks the leader for a command in a task: executors are connected to the leader alone.
const execPath = "/exec"

// commands runs commands in tasks, from any server.
type commands struct{ s *Server }

// Exec asks the run's node where it is connected here, else the leader.
func (c commands) Exec(ctx context.Context, r api.ExecRequest, line api.ExecLine) error {
	err := c.s.executors.exec(ctx, r, line)
	if !errors.Is(err, errNotHere) {
		return err
	}
	leader, self := c.s.node.Leader()
	if self || leader.ID == "" {
		return err
	}
	asked, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ws, _, err := websocket.Dial(ctx, "http://"+leader.ID+execPath+"?"+url.Values{"request": {string(asked)}}.Encode(), &websocket.DialOptions{HTTPClient: c.s.peers}) //nolint:bodyclose // Dial has closed it
	if err != nil {
		return fmt.Errorf("ask the leader for a command: %w", err)
	}
	far := client.NewExecConn(ws)
	defer far.Drop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return relay(ctx, cancel, line, far)
}

// servePeerExec answers another server.
func (s *Server) servePeerExec(w http.ResponseWriter, req *http.Request) {
	var r api.ExecRequest
	if err := json.Unmarshal([]byte(req.URL.Query().Get("request")), &r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ws, err := websocket.Accept(w, req, nil)
	if err != nil {
		return // it has answered
	}
	line := client.NewExecConn(ws)
	defer line.Drop()
	if err := s.executors.exec(req.Context(), r, line); err != nil {
		end, ferr := client.ExecFailed(err)
		if ferr != nil || line.Send(req.Context(), end) != nil {
			return
		}
	}
	_ = line.Close() // the other side has all it wants
}

// relay passes frames on until the command's end came by. Who asked for it and goes has it cancelled: far ends with ctx.
func relay(ctx context.Context, cancel context.CancelFunc, near, far api.ExecLine) error {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer cancel()
		for {
			f, err := near.Receive(ctx)
			if err != nil || far.Send(ctx, f) != nil {
				return
			}
		}
	}()
	defer func() { cancel(); <-gone }()
	for {
		f, err := far.Receive(ctx)
		if err != nil {
			return fmt.Errorf("the line to the command is cut: %w", err)
		}
		if err := near.Send(ctx, f); err != nil || f.Channel == client.ExecEnd {
			return err
		}
	}
}

// exec runs a command in a run's task, whose executor must have dialled this server.
func (x *executors) exec(ctx context.Context, r api.ExecRequest, line api.ExecLine) error {
	run, ok := x.truth.View().Run(r.Run)
	if !ok {
		return fmt.Errorf("run %d has ended", r.Run)
	}
	s, ok := x.session(run.Node())
	if !ok {
		return errNotHere
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.wire.Node.Exec(ctx)
	if err != nil {
		return err
	}
	start := &wire.ExecStart{Run: uint64(r.Run), Argv: r.Argv, Env: r.Env, Connect: uint32(r.Connect)}
	if r.Terminal != nil {
		start.Terminal = &wire.TerminalSize{Rows: uint32(r.Terminal.Rows), Cols: uint32(r.Terminal.Cols)}
	}
	if err := stream.Send(&wire.ExecInput{Start: start}); err != nil && !errors.Is(err, io.EOF) { // then Recv says why
		return err
	}
	err = relay(ctx, cancel, line, &nodeLine{stream: stream})
	if s, ok := status.FromError(errors.Unwrap(err)); ok && s != nil && err != nil {
		return errors.New(s.Message()) // the machine's own word
	}
	return err
}

// nodeLine is a command's connection to its node.
type nodeLine struct {
	stream grpc.BidiStreamingClient[wire.ExecInput, wire.ExecOutput]
	rest   []client.ExecFrame
}

// Send is part of [api.ExecLine].
func (l *nodeLine) Send(_ context.Context, f client.ExecFrame) error {
	m := new(wire.ExecInput)
	switch f.Channel {
	case client.ExecStdin:
		m.Stdin = f.Data
	case client.ExecClose:
		m.StdinEnd = true
	case client.ExecResize:
		var size client.TerminalSize
		if err := json.Unmarshal(f.Data, &size); err != nil {
			return fmt.Errorf("read the terminal's size: %w", err)
		}
		m.Size = &wire.TerminalSize{Rows: uint32(size.Rows), Cols: uint32(size.Cols)}
	default:
		return fmt.Errorf("channel %d is not one to send on", f.Channel)
	}
	return l.stream.Send(m)
}

// Receive is part of [api.ExecLine].
func (l *nodeLine) Receive(context.Context) (client.ExecFrame, error) {
	for len(l.rest) == 0 {
		m, err := l.stream.Recv()
		if err != nil {
			return client.ExecFrame{}, err
		}
		if err := l.take(m); err != nil {
			return client.ExecFrame{}, err
		}
	}
	f := l.rest[0]
	l.rest = l.rest[1:]
	return f, nil
}

// take cuts what the command wrote into frames.
func (l *nodeLine) take(m *wire.ExecOutput) error {
	for channel, data := range map[byte][]byte{client.ExecStdout: m.GetStdout(), client.ExecStderr: m.GetStderr()} {
		for len(data) > 0 {
			n := min(len(data), client.ExecFrameMax-1)
			l.rest = append(l.rest, client.ExecFrame{Channel: channel, Data: data[:n]})
			data = data[n:]
		}
	}
	if m.GetStdoutEnd() {
		l.rest = append(l.rest, client.ExecFrame{Channel: client.ExecClose, Data: []byte{client.ExecStdout}})
	}
	if end := m.GetEnd(); end != nil {
		f, err := client.ExecEnded(int(end.GetCode()), end.GetMessage())
		if err != nil {
			return err
		}
		l.rest = append(l.rest, f)
	}
	return nil
}
