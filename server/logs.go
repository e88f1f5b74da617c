package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/scheduler"
)

// logPath is where a server asks the leader for a running run's log: executors are connected to the leader alone.
const logPath = "/log"

// logs reads the logs of runs that have not ended, from any server.
type logs struct{ s *Server }

// ReadLog asks the run's node where it is connected here, else the leader.
func (l logs) ReadLog(ctx context.Context, r api.LogRequest, send func(api.LogPiece) error) error {
	err := l.s.executors.readLog(ctx, r, send)
	if !errors.Is(err, errNotHere) {
		return err
	}
	leader, self := l.s.node.Leader()
	if self || leader.ID == "" {
		return err
	}
	return l.fromPeer(ctx, leader.ID, r, send)
}

func (l logs) fromPeer(ctx context.Context, id string, r api.LogRequest, send func(api.LogPiece) error) error {
	q := url.Values{
		"run": {strconv.FormatUint(uint64(r.Run), 10)}, "stream": {r.Stream}, "offset": {strconv.FormatInt(r.Offset, 10)},
		"tail": {strconv.FormatInt(r.Tail, 10)}, "follow": {strconv.FormatBool(r.Follow)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+id+logPath+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := l.s.peers.Do(req)
	if err != nil {
		return fmt.Errorf("ask the leader for the log: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the leader for the log: %s", resp.Status)
	}
	lines := json.NewDecoder(resp.Body)
	for {
		var piece api.LogPiece
		switch err := lines.Decode(&piece); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the leader's answer: %w", err)
		}
		if err := send(piece); err != nil {
			return err
		}
	}
}

// servePeerLog answers another server.
func (s *Server) servePeerLog(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(q.Get(name), 10, 64)
		return n
	}
	r := api.LogRequest{
		Run: scheduler.RunID(number("run")), Stream: q.Get("stream"), Offset: number("offset"), Tail: number("tail"),
		Follow: q.Get("follow") == "true",
	}
	sent := false
	lines := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	err := s.executors.readLog(req.Context(), r, func(p api.LogPiece) error {
		sent = true
		if err := lines.Encode(p); err != nil {
			return err
		}
		return flush.Flush()
	})
	if err != nil && !sent {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}
