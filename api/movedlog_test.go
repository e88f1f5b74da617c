package api_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/blobs"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// A task that has moved twice has printed one log, for who follows it as for who asks afterwards; each part of it is a run's.
func TestTheLogOfWhatHasMovedIsWhole(t *testing.T) {
	store := &shelf{items: map[blobs.Digest][]byte{}}
	s := newShownBy(t, func(c *api.Config) { c.Blobs = store }, func(r *client.SubmitRequest) { r.Pay, r.Job.TimeMs, r.Job.Mode = 2000, 0, "stream" })
	part := func(n int) scheduler.Log {
		text := fmt.Appendf(nil, "part %d\n", n)
		store.mu.Lock()
		defer store.mu.Unlock()
		digest := sha256.Sum256(text)
		store.items[digest] = text
		return scheduler.Log{Digest: digest, Size: int64(len(text)), Head: int64(len(text))}
	}
	heard, done := make(chan string, 10), make(chan error, 1)
	go func() {
		defer close(heard)
		q := client.LogQuery{Job: s.job, View: s.secret.Key("view"), Stream: "stdout", Follow: true}
		done <- s.c.Logs(t.Context(), q, func(l client.LogChunk) error {
			heard <- string(l.Data)
			return nil
		})
	}()
	for n := 1; n <= 2; n++ {
		s.runsDry()
		stored := &scheduler.Stored{Digest: [32]byte{byte(n)}, Size: 1, Moves: "m", Stdout: part(n)}
		s.reports(machine.RunReport{Run: s.run, Suspended: &machine.Suspended{At: s.at, Stored: stored}})
		s.pays(4000)
		s.does(&machine.Pulse{Move: []machine.MoveRun{{Run: s.run, Node: s.joins(fmt.Sprint("other", n), scheduler.DriverFacts{Name: "process", Isolation: "vm", State: "up", Moves: "m"})}}})
		s.run++
		if run, ok := s.View().Run(s.run); !ok || run.Stored == nil {
			t.Fatalf("it did not move: %+v", run)
		}
		if got, want := <-heard, fmt.Sprintf("part %d\n", n); got != want { // and who follows waits for the next
			t.Fatalf("heard %q, want %q", got, want)
		}
		start := s.at
		s.reports(machine.RunReport{Run: s.run, Started: &start})
	}
	s.later(1000)
	s.reports(machine.RunReport{Run: s.run, Ended: &machine.End{At: s.at, Reason: scheduler.ReasonExited, Stdout: part(3)}})
	if got, err := <-heard, <-done; got != "part 3\n" || err != nil {
		t.Errorf("at its end %q was heard, %v", got, err)
	}
	view := map[string]string{"Authorization": "Bearer " + s.secret.Key("view")}
	for query, want := range map[string]string{
		"": "part 1\npart 2\npart 3\n", "?run=1": "part 1\n", "?run=2": "part 2\n", "?run=3": "part 3\n", "?tail=1": "part 3\n",
	} {
		if resp, raw := s.get(fmt.Sprintf("/v1/jobs/%d/logs/stdout%s", s.job, query), view); resp.StatusCode != 200 || string(raw) != want {
			t.Errorf("%s: %s %q, want %q", query, resp.Status, raw, want)
		}
	}
}
