package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// sizeMax is how many rows and columns a terminal may have.
const sizeMax = 4096

func (a *API) execRoute() {
	a.handle("GET /v1/jobs/{job}/exec", a.exec)
	a.document(huma.Operation{
		OperationID: "exec", Method: http.MethodGet, Path: "/v1/jobs/{job}/exec", Tags: []string{"jobs"},
		Summary: "Run one more command in a task, or connect to a port of it, with the job's control key",
		Description: "A WebSocket of the subprotocol " + client.ExecProtocol + ", which is Kubernetes': the first byte of each binary message is its channel, 0 standard input, 1 output, " +
			"2 errors, 3 how it ended (the last message), 4 the terminal's new size, 255 the channel that ends. Of a port, input and output are its bytes. A task that has not started is waited for.",
		Parameters: []*huma.Param{
			pathParam("job", "integer"), queryParam("task", "integer", "default: the first"), queryParam("command", "string", "argv, one parameter each"),
			queryParam("env", "string", "NAME=value, beside the task's, one parameter each"),
			queryParam("rows", "integer", "with cols: in a terminal of this size"), queryParam("cols", "integer", ""),
			queryParam("connect", "integer", "instead of a command: a TCP port of the task's loopback"),
		},
	}, nil, http.StatusSwitchingProtocols, nil)
}

func (a *API) exec(w http.ResponseWriter, r *http.Request) error {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return fail(codeUpgrade, "this address speaks WebSocket alone")
	}
	if a.config.Commands == nil {
		return fail(codeNotHere, "this server runs no commands in tasks")
	}
	q, v, err := a.readExec(r)
	if err != nil {
		return err
	}
	if j, ok := v.Job(q.at.job); !ok || j.State == scheduler.JobDone {
		return fail(string(machine.CodeJobEnded), "job %d has ended", q.at.job)
	}
	leave, err := a.enterStream(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	if q.request.Connect != 0 {
		unplug, err := a.connects.enter(q.at.job)
		if err != nil {
			return err
		}
		defer unplug()
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{client.ExecProtocol}})
	if err != nil {
		return nil //nolint:nilerr // it has answered
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	line := listen(ctx, cancel, client.NewExecConn(ws))
	defer line.conn.Drop()
	if err := a.execWhenRunning(ctx, v, q, line); err != nil {
		if end, err := client.ExecFailed(err); err != nil || line.Send(ctx, end) != nil {
			return nil //nolint:nilerr // the client has gone
		}
	}
	_ = line.conn.Close() // the client has all it wants
	return nil
}

// execWhenRunning waits for the task to run. An empty frame tells the client that it does: what it has to say would stand
// in the way of hearing that it has gone.
func (a *API) execWhenRunning(ctx context.Context, v *machine.View, q execWanted, line *execLine) error {
	run, err := a.runOf(ctx, &v, q.at, 0)
	if err != nil {
		return err
	}
	if run == nil || run.State == scheduler.RunEnded {
		return fmt.Errorf("task %d of job %d has ended", q.at.task, q.at.job)
	}
	if err := line.Send(ctx, client.ExecFrame{Channel: client.ExecStdout}); err != nil {
		return err
	}
	q.request.Run = run.ID
	return a.config.Commands.Exec(ctx, q.request, line)
}

// execLine is the client's connection, read from the start, so that it is noticed when the client goes while its command
// waits.
type execLine struct {
	conn   *client.ExecConn
	frames chan client.ExecFrame
}

func listen(ctx context.Context, cancel context.CancelFunc, conn *client.ExecConn) *execLine {
	l := &execLine{conn, make(chan client.ExecFrame)}
	go func() {
		defer cancel()
		for {
			f, err := conn.Receive(ctx)
			if err != nil {
				return
			}
			select {
			case l.frames <- f:
			case <-ctx.Done():
				return
			}
		}
	}()
	return l
}

// Receive is part of [ExecLine].
func (l *execLine) Receive(ctx context.Context) (client.ExecFrame, error) {
	select {
	case f := <-l.frames:
		return f, nil
	case <-ctx.Done():
		return client.ExecFrame{}, ctx.Err()
	}
}

// Send is part of [ExecLine].
func (l *execLine) Send(ctx context.Context, f client.ExecFrame) error { return l.conn.Send(ctx, f) }

// execWanted is a command, and where.
type execWanted struct {
	at      logWanted // the task, as whoever follows its log waits for it
	request ExecRequest
}

func (a *API) readExec(r *http.Request) (q execWanted, v *machine.View, err error) {
	if v, err = a.linear(r.Context()); err != nil { // who waits for a shell can wait for that
		return q, v, err
	}
	id, err := strconv.ParseUint(r.PathValue("job"), 10, 64)
	if err != nil {
		return q, v, fail(string(machine.CodeInvalid), "job: %.20q is not a number", r.PathValue("job"))
	}
	j, err := findJob(v, id)
	if err != nil {
		return q, v, err
	}
	switch c := callerOf(r.Context()); {
	case c.key == (funding.KeyHash{}):
		return q, v, fail(codeKeyMissing, "a command in job %d needs its control key", id)
	case c.key != j.Control:
		return q, v, fail(string(machine.CodeKeyWrong), "this is not the control key of job %d", id)
	}
	values := r.URL.Query()
	q.at = logWanted{job: j.ID, task: j.Tasks.First, follow: true}
	if values.Has("task") {
		task, err := number(r, "task")
		if err != nil || task < int64(j.Tasks.First) || task > int64(j.Tasks.Last) {
			return q, v, fail(string(machine.CodeInvalid), "job %d has the tasks %d to %d, not %.20q", j.ID, j.Tasks.First, j.Tasks.Last, values.Get("task"))
		}
		q.at.task = int32(task)
	}
	q.request.Argv, q.request.Env = values["command"], values["env"]
	if values.Has("connect") {
		if q.request.Connect, err = readPort(r); err != nil {
			return q, v, err
		}
		if len(values["command"])+len(values["env"]) > 0 || values.Has("rows") || values.Has("cols") {
			return q, v, fail(string(machine.CodeInvalid), "connect: a port has no command, variables or terminal")
		}
		return q, v, nil
	}
	if err := checkCommand(q.request); err != nil {
		return q, v, err
	}
	if !values.Has("rows") && !values.Has("cols") {
		return q, v, nil
	}
	rows, rerr := number(r, "rows")
	cols, cerr := number(r, "cols")
	if rerr != nil || cerr != nil || rows > sizeMax || cols > sizeMax {
		return q, v, fail(string(machine.CodeInvalid), "rows, cols: a terminal has up to %d of each", sizeMax)
	}
	q.request.Terminal = &client.TerminalSize{Rows: uint16(rows), Cols: uint16(cols)}
	return q, v, nil
}

// checkCommand holds a command to the rules of a job's own.
func checkCommand(r ExecRequest) error {
	env := slices.Clone(r.Env)
	slices.Sort(env)
	return scheduler.Work{Argv: r.Argv, Env: env}.Validate()
}
