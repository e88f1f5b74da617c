package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// historyPath is where servers ask each other for what their books hold.
const historyPath = "/history"

// asked is one question about the past; exactly one of its parts is there.
type asked struct {
	Job    *scheduler.JobID  `json:"job,omitempty"`
	Jobs   *api.HistoryQuery `json:"jobs,omitempty"`
	Prices *pricesAsked      `json:"prices,omitempty"`
	Events *eventsAsked      `json:"events,omitempty"`
}

type pricesAsked struct {
	Pool  scheduler.PoolID `json:"pool"`
	Since int64            `json:"since"` // ms since 1970; zero: from the beginning
	Limit int              `json:"limit"`
}

type eventsAsked struct {
	After uint64          `json:"after"`
	Job   scheduler.JobID `json:"job,omitempty"`
	Pot   funding.PotID   `json:"pot,omitempty"`
	Limit int             `json:"limit"`
}

// told is the answer to it.
type told struct {
	Jobs   []client.HistoryJob `json:"jobs,omitempty"`
	Prices []client.Price      `json:"prices,omitempty"`
	Events []machine.Event     `json:"events,omitempty"`
	Last   uint64              `json:"last,omitempty"`
}

// elsewhere has questions answered by a server whose book lacks nothing, while this one's is catching up.
type elsewhere struct {
	behind func() bool
	peers  func() []string // base URLs
	client *http.Client
	here   func(ctx context.Context, q asked) (told, error)
}

// answer is from this server's book, and from a peer's while this one lacks something. Where no peer can either, what
// is here is all there is.
func (e *elsewhere) answer(ctx context.Context, q asked) (told, error) {
	if !e.behind() {
		t, err := e.here(ctx, q)
		if err == nil || !e.behind() {
			return t, err
		} // else this very question has found the book damaged
	}
	for _, peer := range e.peers() {
		if t, err := e.ask(ctx, peer, q); err == nil || ctx.Err() != nil {
			return t, err
		}
	}
	return e.here(ctx, q)
}

func (e *elsewhere) ask(ctx context.Context, base string, q asked) (told, error) {
	var t told
	body, err := json.Marshal(q)
	if err != nil {
		return t, fmt.Errorf("ask %s for history: %w", base, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+historyPath, bytes.NewReader(body))
	if err != nil {
		return t, fmt.Errorf("ask %s for history: %w", base, err)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return t, fmt.Errorf("ask %s for history: %w", base, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return t, fmt.Errorf("ask %s for history: %s", base, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&t); err != nil {
		return t, fmt.Errorf("read what %s says of history: %w", base, err)
	}
	return t, nil
}

// ServeHTTP answers another server, unless this one would have to ask itself.
func (e *elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q asked
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if e.behind() {
		http.Error(w, "this book is catching up too", http.StatusServiceUnavailable)
		return
	}
	t, err := e.here(r.Context(), q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_ = json.NewEncoder(w).Encode(t) // who has gone asks again
}
