package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/coder/websocket"
)

// ExecProtocol names the frames of a command as a WebSocket subprotocol. They are those of Kubernetes: the first byte of a
// binary message is its channel.
const ExecProtocol = "v5.channel.k8s.io"

// The channels of ExecProtocol.
const (
	ExecStdin  byte = 0
	ExecStdout byte = 1
	ExecStderr byte = 2
	ExecEnd    byte = 3   // the last: an ExecStatus
	ExecResize byte = 4   // a TerminalSize
	ExecClose  byte = 255 // the channel that ends here: standard input's, or from a port output's
)

// ExecFrameMax bounds a frame, its channel included.
const ExecFrameMax = 64 << 10

// TerminalSize is how many characters a terminal shows.
type TerminalSize struct {
	Cols uint16 `json:"Width"`
	Rows uint16 `json:"Height"`
}

// ExecStatus is how a command ended, as Kubernetes writes it.
type ExecStatus struct {
	Status  string `json:"status" enum:"Success,Failure"`
	Message string `json:"message,omitempty"`
	Reason  string `json:"reason,omitempty" doc:"NonZeroExitCode: the cause ExitCode has the number"`
	Details *struct {
		Causes []ExecCause `json:"causes"`
	} `json:"details,omitempty"`
}

// ExecCause is one thing that is known of a command's end.
type ExecCause struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

const (
	execSuccess  = "Success"
	execFailure  = "Failure"
	execNonZero  = "NonZeroExitCode"
	execExitCode = "ExitCode"
)

// ExecFrame is one message of ExecProtocol.
type ExecFrame struct {
	Channel byte
	Data    []byte
}

// ExecEnded is the frame that tells how a command ended: its code as a shell has it, and why it could not begin.
func ExecEnded(code int, message string) (ExecFrame, error) {
	s := ExecStatus{Status: execSuccess}
	if code != 0 {
		if message == "" {
			message = "command terminated with exit code " + strconv.Itoa(code)
		}
		s = ExecStatus{Status: execFailure, Message: message, Reason: execNonZero, Details: &struct {
			Causes []ExecCause `json:"causes"`
		}{[]ExecCause{{execExitCode, strconv.Itoa(code)}}}}
	}
	data, err := json.Marshal(s)
	return ExecFrame{ExecEnd, data}, err
}

// ExecFailed is the frame that tells why nothing is known of a command's end.
func ExecFailed(why error) (ExecFrame, error) {
	data, err := json.Marshal(ExecStatus{Status: execFailure, Message: why.Error()})
	return ExecFrame{ExecEnd, data}, err
}

// ExecCode reads the last frame: the command's code, with a message where that is not zero.
func ExecCode(f ExecFrame) (code int, message string, err error) {
	var s ExecStatus
	if err := json.Unmarshal(f.Data, &s); err != nil {
		return 0, "", fmt.Errorf("read how the command ended: %w", err)
	}
	if s.Status == execSuccess {
		return 0, "", nil
	}
	if s.Details != nil && s.Reason == execNonZero {
		for _, c := range s.Details.Causes {
			if c.Reason == execExitCode {
				code, err = strconv.Atoi(c.Message)
				return code, s.Message, err
			}
		}
	}
	return 0, "", errors.New(s.Message)
}

// ExecConn is a connection on which the frames of one command go both ways. One goroutine may receive while others send.
type ExecConn struct{ ws *websocket.Conn }

// NewExecConn takes over a WebSocket.
func NewExecConn(ws *websocket.Conn) *ExecConn {
	ws.SetReadLimit(ExecFrameMax)
	return &ExecConn{ws}
}

// Receive returns the next frame, or io.EOF where the other side has closed in order.
func (c *ExecConn) Receive(ctx context.Context) (ExecFrame, error) {
	kind, data, err := c.ws.Read(ctx)
	switch {
	case websocket.CloseStatus(err) == websocket.StatusNormalClosure:
		return ExecFrame{}, io.EOF
	case err != nil:
		return ExecFrame{}, err
	case kind != websocket.MessageBinary || len(data) == 0:
		return ExecFrame{}, errors.New("a message is no frame: it is not binary, or empty")
	}
	return ExecFrame{data[0], data[1:]}, nil
}

// Send sends a frame of at most ExecFrameMax bytes.
func (c *ExecConn) Send(ctx context.Context, f ExecFrame) error {
	return c.ws.Write(ctx, websocket.MessageBinary, append([]byte{f.Channel}, f.Data...))
}

// Close ends the connection in order.
func (c *ExecConn) Close() error { return c.ws.Close(websocket.StatusNormalClosure, "") }

// Drop ends it at once.
func (c *ExecConn) Drop() { _ = c.ws.CloseNow() }

// ExecQuery asks for one more command in a task that runs, or will, or for a port of it.
type ExecQuery struct {
	Job      uint64
	Task     int32
	Control  string // the job's control key
	Command  []string
	Env      []string      // NAME=value, beside the task's
	Terminal *TerminalSize // none: no terminal, and standard error apart
	Connect  uint16        // instead of a command: a TCP port of the task's loopback, whose bytes are input and output
}

// Values is the query as a URL has it.
func (q ExecQuery) Values() url.Values {
	v := url.Values{"command": q.Command, "env": q.Env}
	if q.Task != 0 {
		v.Set("task", strconv.Itoa(int(q.Task)))
	}
	if q.Connect != 0 {
		v.Set("connect", strconv.Itoa(int(q.Connect)))
	}
	if q.Terminal != nil {
		v.Set("rows", strconv.Itoa(int(q.Terminal.Rows)))
		v.Set("cols", strconv.Itoa(int(q.Terminal.Cols)))
	}
	return v
}

// Exec begins a command; a job that waits is waited for. The caller closes what it gets.
func (c *Client) Exec(ctx context.Context, q ExecQuery) (*ExecConn, error) {
	_, first := c.position()
	var tried []Attempt
	for i := range c.servers {
		n := (first + i) % len(c.servers)
		ws, err := c.dialExec(ctx, n, q)
		var problem *Problem
		switch {
		case err == nil:
			return NewExecConn(ws), nil
		case errors.As(err, &problem) && problem.Status != http.StatusServiceUnavailable:
			return nil, problem
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		tried = append(tried, Attempt{c.servers[n], err})
	}
	return nil, &Unreachable{Tried: tried}
}

func (c *Client) dialExec(ctx context.Context, server int, q ExecQuery) (*websocket.Conn, error) {
	path := jobPath(q.Job, "/exec") + "?" + q.Values().Encode()
	req, err := c.request(ctx, server, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+q.Control)
	ws, _, err := websocket.Dial(ctx, c.servers[server]+path, &websocket.DialOptions{ //nolint:bodyclose // Dial has closed it
		HTTPClient: &http.Client{Transport: carrier(func(r *http.Request) (*http.Response, error) { return c.do(r, server) })},
		HTTPHeader: req.Header, Subprotocols: []string{ExecProtocol},
	})
	return ws, err
}

// carrier is a function as an http.RoundTripper.
type carrier func(*http.Request) (*http.Response, error)

// RoundTrip is part of [http.RoundTripper].
func (f carrier) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
