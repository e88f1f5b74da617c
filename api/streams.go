package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

func (a *API) streamRoutes() {
	a.handle("GET /v1/jobs/{job}/logs/{stream}", a.getLog)
	a.document(huma.Operation{
		OperationID: "logs", Method: http.MethodGet, Path: "/v1/jobs/{job}/logs/{stream}", Tags: []string{"jobs"},
		Summary: "What a task has written: plain bytes, or lines of JSON when application/x-ndjson is accepted",
		Parameters: []*huma.Param{
			pathParam("job", "integer"), pathParam("stream", "string"), queryParam("task", "integer", "default: the first"),
			queryParam("run", "integer", "default: the newest"), queryParam("offset", "integer", "from this byte on"),
			queryParam("tail", "integer", "only the last so many lines"), queryParam("follow", "boolean", "until the task has ended"),
		},
	}, nil, http.StatusOK, client.LogChunk{})
	for path, id := range map[string]string{"/v1/events": "events", "/v1/jobs/{job}/events": "job-events"} {
		a.handle("GET "+path, a.getEvents)
		op := huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"jobs"},
			Summary: "What has happened: lines of JSON, or server-sent events when text/event-stream is accepted",
			Parameters: []*huma.Param{
				queryParam("after", "integer", "the number of the last event seen"), queryParam("follow", "boolean", "go on as things happen"),
			},
		}
		if strings.Contains(path, "{job}") {
			op.Parameters = append(op.Parameters, pathParam("job", "integer"))
		}
		a.document(op, nil, http.StatusOK, client.Event{})
	}
	a.execRoute()
	a.blobRoutes()
}

// enterStream takes one of the places for streams; the function gives it back.
func (a *API) enterStream(ctx context.Context) (func(), error) {
	addr := callerOf(ctx).addr
	end := a.addresses.count(addr, now(), func(m *meter) *int { return &m.streams }, a.limits.AddressStreams)
	if end == nil {
		return nil, fail(codeTooMany, "%d logs and events are being followed from %s, which is as many as one address may", a.limits.AddressStreams, addr)
	}
	select {
	case a.streams <- struct{}{}:
		a.metrics.streams.Inc()
		return func() { <-a.streams; a.metrics.streams.Dec(); end() }, nil
	default:
		end()
		return nil, fail(codeBusy, "%d logs and events are being followed, which is as many as this server takes", cap(a.streams))
	}
}

// lineWriter writes lines of JSON, each at once.
type lineWriter struct {
	w     http.ResponseWriter
	sse   bool
	begun bool
}

func (l *lineWriter) begin() {
	if l.begun {
		return
	}
	l.begun = true
	kind := "application/x-ndjson"
	if l.sse {
		kind = "text/event-stream"
	}
	l.w.Header().Set("Content-Type", kind)
	l.w.WriteHeader(http.StatusOK)
	l.flush()
}

func (l *lineWriter) flush() { _ = http.NewResponseController(l.w).Flush() }

func (l *lineWriter) line(v any) error {
	l.begin()
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if l.sse {
		raw = append(append([]byte("data: "), raw...), '\n')
	}
	if _, err := l.w.Write(append(raw, '\n')); err != nil {
		return err
	}
	l.flush()
	return nil
}

// number reads a number of the query; nothing is zero.
func number(r *http.Request, name string) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fail(string(machine.CodeInvalid), "%s: %.20q is not a number from 0 up", name, text)
	}
	return n, nil
}

// eventsWanted is what a request for events asks for.
type eventsWanted struct {
	after  uint64
	job    scheduler.JobID
	pot    funding.PotID // the job's own
	follow bool
	all    bool // money too: for the job's owner, for viewers and for operators
}

func (a *API) readEvents(r *http.Request) (eventsWanted, error) {
	var want eventsWanted
	after, err := number(r, "after")
	if err != nil {
		return want, err
	}
	want.after, want.follow = uint64(after), r.URL.Query().Get("follow") == "true"
	c, v := callerOf(r.Context()), a.node.View()
	if c.hasToken {
		role, err := a.role(c, v)
		if err != nil {
			return want, err
		}
		want.all = role == machine.RoleOperator || role == machine.RoleView
	}
	text := r.PathValue("job")
	if text == "" {
		return want, nil
	}
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return want, fail(string(machine.CodeInvalid), "job: %.20q is not a number", text)
	}
	want.job = scheduler.JobID(id)
	if j, ok := v.Job(want.job); ok && j.OwnPot {
		want.pot = j.Pot
	}
	if !want.all && c.key != (funding.KeyHash{}) {
		if _, err := a.ownJob(r.Context(), v, id); err != nil {
			return want, err
		}
		want.all = true
	}
	return want, nil
}

func (a *API) getEvents(w http.ResponseWriter, r *http.Request) error {
	if a.config.Events == nil {
		return fail(codeNotHere, "this server keeps no events")
	}
	want, err := a.readEvents(r)
	if err != nil {
		return err
	}
	leave, err := a.enterStream(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	ctx := r.Context()
	out := &lineWriter{w: w, sse: strings.Contains(r.Header.Get("Accept"), "text/event-stream")}
	for seq := want.after; ; {
		events, last, err := a.config.Events.After(ctx, EventsQuery{After: seq, Job: want.job, Pot: want.pot, Limit: a.limits.JobsPage})
		if err != nil {
			return streamError(out, err)
		}
		v := a.viewAt(0)
		for i := range events {
			if !want.all && aboutMoney(events[i].Kind) {
				continue
			}
			if err := out.line(eventView(v, &events[i], want.all)); err != nil {
				return nil // nobody listens
			}
		}
		if err := a.addresses.pace(ctx, callerOf(ctx).addr, 1+len(events)/a.limits.AddressWork); err != nil {
			return nil // the client has gone
		}
		if seq = max(seq, last); len(events) == a.limits.JobsPage {
			continue
		}
		out.begin()
		if !want.follow {
			return nil
		}
		if err := a.config.Events.Wait(ctx, seq); err != nil {
			return nil // the client has gone, or the server goes
		}
	}
}

// aboutMoney says which events tell what somebody paid.
func aboutMoney(k machine.EventKind) bool {
	switch k {
	case machine.EventTransfer, machine.EventSettled, machine.EventRefunded, machine.EventClaimable, machine.EventLowFunds:
		return true
	}
	return false
}

// streamError answers an error while that can still be done; later, only a broken stream tells of it.
func streamError(out *lineWriter, err error) error {
	if out.begun {
		panic(http.ErrAbortHandler)
	}
	return err
}

func eventView(v *machine.View, e *machine.Event, all bool) client.Event {
	out := client.Event{
		Seq: e.Seq, At: clock(e.At), Kind: string(e.Kind), Job: uint64(e.Job), Run: uint64(e.Run), AmountMicro: int64(e.Amount), Text: e.Text,
		RateMicro: int64(e.Rate), Reason: e.Reason.String(), Until: clockOf(e.Until), Deposit: int64(e.Deposit),
		Refund: uint64(e.Refund), Debit: e.Debit, Credit: e.Credit,
	}
	if !all {
		out.AmountMicro, out.Text = 0, ""
	}
	if e.Run != 0 {
		task := e.Task
		out.Task = &task
	}
	if e.Kind == machine.EventRunEnded || e.Kind == machine.EventEnded {
		code := e.Exit
		out.ExitCode = &code
	}
	if n, ok := v.Node(e.Node); ok && e.Node != 0 {
		out.Node = n.Name
	}
	if p, ok := v.Pool(e.Pool); ok && e.Pool != 0 {
		out.Pool = p.Name
	}
	return out
}
