package book

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/fxamacker/cbor/v2"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// answerMax bounds what is taken from a peer at once.
const answerMax = 64 << 20

// Handler answers other servers' books: GET /book/events?after=SEQ&limit=N, in CBOR.
func (b *Book) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /book/events", func(w http.ResponseWriter, r *http.Request) {
		after, err := strconv.ParseUint(r.FormValue("after"), 10, 63)
		most, err2 := strconv.Atoi(r.FormValue("limit"))
		if err != nil || err2 != nil {
			http.Error(w, "after and limit must be numbers", http.StatusBadRequest)
			return
		}
		if b.Through() <= after || b.CatchingUp() {
			http.Error(w, "this book is not there yet", http.StatusServiceUnavailable)
			return
		}
		events, err := b.After(r.Context(), after, 0, min(most, batchMax))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if len(events) > 0 && events[0].Seq != after+1 {
			events = nil // a hole: what follows it is of no use to the asker
		}
		body, err := cbor.Marshal(events)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/cbor")
		w.Write(body) //nolint:errcheck // the asker sees too few bytes
	})
	return mux
}

// HTTPPeer is another server's book behind its Handler.
type HTTPPeer struct {
	ID     string
	Base   string // http://HOST
	Client *http.Client
}

// Name is the server's id.
func (p HTTPPeer) Name() string { return p.ID }

// Events is part of Peer.
func (p HTTPPeer) Events(ctx context.Context, seq uint64, most int) ([]machine.Event, error) {
	q := url.Values{"after": {strconv.FormatUint(seq, 10)}, "limit": {strconv.Itoa(most)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Base+"/book/events?"+q.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask for events: %w", err)
	}
	resp, err := p.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for events: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for events: it answers %s: %.200s", resp.Status, body)
	}
	var events []machine.Event
	if err := cbor.Unmarshal(body, &events); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return events, nil
}

func jsonNumbers(ids []scheduler.JobID) (string, error) {
	b, err := json.Marshal(ids)
	if err != nil {
		return "", fmt.Errorf("list the jobs asked for: %w", err)
	}
	return string(b), nil
}
