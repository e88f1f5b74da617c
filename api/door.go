package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/machine"
)

// ServeHTTP is the door: what holds for every request is done here, then it goes to its route.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	out := &answerWriter{ResponseWriter: w, api: a}
	defer func() {
		// Only the patterns of routes are labels: paths hold numbers and names.
		a.metrics.observe(r.Method, r.Pattern, out.status, time.Since(began))
	}()
	defer a.recover(out, r)
	leave, err := a.addresses.enter(addrOf(r), began)
	if err != nil {
		a.turnAway(out, r, leave, err)
		return
	}
	owed := 0
	defer func() {
		// Who is refused has made the server work all the same, who is told a price as well. Reads are refused cheaply.
		if r.Method != http.MethodGet && r.Method != http.MethodHead && out.status >= 400 && out.status < 500 {
			owed = max(owed, a.limits.AddressWork)
		}
		leave(owed, time.Now())
	}()
	if err := a.enter(out, &r, &owed); err != nil {
		a.refuse(out, r, err)
		return
	}
	a.mux.ServeHTTP(out, r)
}

// turnAway refuses an address that has had its share. One that owes is told after a while, so that asking again and again
// costs it more than us; one that asks on all its connections at once loses this one.
func (a *API) turnAway(w http.ResponseWriter, r *http.Request, leave func(int, time.Time), err error) {
	if leave == nil {
		w.Header().Set("Connection", "close")
		a.refuse(w, r, err)
		return
	}
	defer func() { leave(0, time.Now()) }()
	select {
	case <-time.After(a.limits.RefusalTime):
	case <-r.Context().Done():
	}
	a.refuse(w, r, err)
}

// enter reads who calls, refuses pages where no page has business, and waits for what the client has seen.
func (a *API) enter(w *answerWriter, r **http.Request, owed *int) error {
	c, err := a.newCaller(*r)
	if err != nil {
		return err
	}
	c.owed = owed
	if !a.hostKnown((*r).Host) {
		return fail(codeHost, "Host %.60q is not a name of this server", (*r).Host)
	}
	path := (*r).URL.Path
	if !strings.HasPrefix(path, "/mint/") {
		if err := a.pages.Check(*r); err != nil {
			return fail(codeOrigin, "a page of another site must not call this")
		}
	}
	if c.hasToken && fromPage(*r) {
		return fail(codeOrigin, "a token came from a web page")
	}
	a.body(w, *r)
	if text := (*r).Header.Get(client.HeaderIndex); text != "" && a.ours((*r).Header.Get(client.HeaderCluster)) {
		if c.index, err = a.waitFor((*r).Context(), text); err != nil {
			return err
		}
	}
	*r = (*r).WithContext(context.WithValue((*r).Context(), callerKey{}, c))
	return nil
}

// ours reports whether an index counts here: a client that knew another cluster at this address would wait for ever.
func (a *API) ours(cluster string) bool { return cluster == "" || cluster == a.cluster() }

// waitFor makes a client see what it has seen elsewhere.
func (a *API) waitFor(ctx context.Context, text string) (uint64, error) {
	index, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fail(codeBody, "%s: %.20q is not a number", client.HeaderIndex, text)
	}
	ctx, cancel := context.WithTimeout(ctx, a.limits.AnswerTime/3)
	defer cancel()
	if err := a.node.Wait(ctx, index); err != nil {
		return 0, fail(codeIndexAhead, "this server has not seen entry %d yet", index)
	}
	return index, nil
}

// recover answers for a handler that panicked. The connection goes on; the stack is in the log.
func (a *API) recover(w *answerWriter, r *http.Request) {
	what := recover()
	if what == nil {
		return
	}
	if what == http.ErrAbortHandler { //nolint:errorlint // net/http panics with the value itself
		panic(what)
	}
	a.log.Error("a handler panicked", "method", r.Method, "route", r.Pattern, "panic", what, "stack", string(debug.Stack()))
	if w.status == 0 {
		a.refuse(w, r, fail(codeBug, "this server failed; its log says how"))
	}
}

// answerWriter adds the index to every answer and remembers the status.
type answerWriter struct {
	http.ResponseWriter
	api    *API
	status int
	large  bool // the body was more than may be
}

func (w *answerWriter) WriteHeader(status int) {
	if w.large && status == http.StatusInternalServerError {
		status = http.StatusRequestEntityTooLarge // huma knows one reason only for a body that cannot be read
	}
	if w.status == 0 {
		w.status = status
		h := w.Header()
		// Taken now, it is at least the index of what the handler has read.
		if h.Get(client.HeaderIndex) == "" {
			w.api.tell(h, w.api.node.View().Index())
		}
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			h.Set("Retry-After", "1")
		}
		if cluster := w.api.cluster(); cluster != "" {
			h.Set(client.HeaderCluster, cluster)
		}
		h.Set("X-Content-Type-Options", "nosniff")
		if h.Get("Cache-Control") == "" {
			h.Set("Cache-Control", "no-store")
		}
	}
	w.inTime()
	w.ResponseWriter.WriteHeader(status)
}

// inTime bounds how long the client may take for what is written next; the connection's last answer has left a time of
// its own.
func (w *answerWriter) inTime() {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.api.limits.WriteTime))
}

func (w *answerWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.inTime()
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush sends what was written so far.
func (w *answerWriter) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	// A writer that cannot flush sends when it is full.
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// refuse answers with a problem.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	// Also where the request's context has ended: that is so when this server stops, and what is not refused then would be
	// read as a good answer without a word in it.
	p := a.problemOf(a.termsProblem(err))
	h := w.Header()
	h.Set("Content-Type", p.ContentType(""))
	if p.Status == http.StatusPaymentRequired {
		if text := a.paymentRequest(r, p); text != "" {
			h.Set(client.HeaderXCashu, text)
		}
	}
	body, err := json.Marshal(p)
	if err != nil {
		a.log.Error("encode problem", "error", err)
		body = []byte(`{"status":500,"code":"bug","title":"Internal Server Error","detail":"","do":""}`)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a client that went away has no use for it
}

// answer writes JSON with the index of the entry that it comes from.
func (a *API) answer(w http.ResponseWriter, status int, index uint64, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if index != 0 {
		a.tell(h, index)
	}
	w.WriteHeader(status)
	_, _ = w.Write(raw) // a client that went away asks again
	return nil
}

// decode reads a body in JSON strictly: what is not known is a typo, and what stands twice is a trap.
func decode(raw []byte, into any) error {
	if err := jsonv2.Unmarshal(raw, into, jsonv2.RejectUnknownMembers(true)); err != nil {
		return bodyProblem(err)
	}
	return nil
}

// bodyProblem says which field was wrong, as the request names it.
func bodyProblem(err error) error {
	var kind *jsonv2.SemanticError
	if !errors.As(err, &kind) {
		return fail(codeBody, "this is not JSON: %s", strings.TrimPrefix(err.Error(), "jsontext: "))
	}
	field := strings.ReplaceAll(strings.TrimPrefix(string(kind.JSONPointer), "/"), "/", ".")
	if field == "" {
		field = "the request"
	}
	switch {
	case errors.Is(err, jsonv2.ErrUnknownName):
		return fail(codeBody, "unknown field %q", field)
	case kind.JSONKind == '0' && isNumber(kind.GoType):
		return fail(codeAmount, "%s: %s is not a number that it can be (%s)", field, kind.JSONValue, kind.GoType)
	case kind.Err != nil:
		return fail(codeBody, "%s: %v", field, kind.Err)
	}
	return fail(codeBody, "%s: %s instead of %s", field, kind.JSONKind, kind.GoType)
}

func isNumber(t reflect.Type) bool {
	return t != nil && t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64
}

// propose has a command carried out and decodes its answer. An outcome that is not known in time is an error.
func propose[T any](ctx context.Context, a *API, c machine.Command) (T, machine.Result, error) {
	var answer T
	ctx, cancel := context.WithTimeout(ctx, a.limits.AnswerTime)
	defer cancel()
	result, err := a.node.Propose(ctx, c)
	if err != nil {
		return answer, result, err
	}
	if result.Code != machine.OK {
		return answer, result, &machine.Refusal{Code: result.Code, Detail: result.Detail}
	}
	if err := machine.DecodeAnswer(result.Answer, &answer); err != nil {
		return answer, result, err
	}
	return answer, result, nil
}

// settled is the state with an entry's effect.
func (a *API) settled(ctx context.Context, index uint64) (*machine.View, error) {
	if err := a.node.Wait(ctx, index); err != nil {
		return nil, consensus.ErrUnknown // it did take effect; asked again it says so
	}
	return a.node.View(), nil
}

// linear is the state with all that was acknowledged anywhere.
func (a *API) linear(ctx context.Context) (*machine.View, error) {
	ctx, cancel := context.WithTimeout(ctx, a.limits.AnswerTime)
	defer cancel()
	if _, err := a.node.Linearize(ctx); err != nil {
		// A read has no effect that could be unknown.
		return nil, consensus.ErrNoLeader
	}
	return a.node.View(), nil
}
