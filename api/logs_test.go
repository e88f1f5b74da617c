package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/blobs"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// shelf keeps bytes in memory.
type shelf struct {
	mu    sync.Mutex
	items map[blobs.Digest][]byte
}

func (s *shelf) Put(_ context.Context, d blobs.Digest, r io.Reader) (int64, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	if sha256.Sum256(b) != d {
		return 0, fmt.Errorf("put %s: %w", d, blobs.ErrMismatch)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items[d] = b
	return int64(len(b)), nil
}

func (s *shelf) Get(_ context.Context, d blobs.Digest) (io.ReadCloser, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.items[d]
	if !ok {
		return nil, 0, fmt.Errorf("get %s: %w", d, blobs.ErrMissing)
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}

// pen is a node on which a task writes.
type pen struct {
	pieces chan api.LogPiece // closed when the run has ended
}

func (p *pen) ReadLog(ctx context.Context, r api.LogRequest, send func(api.LogPiece) error) error {
	for {
		select {
		case piece, ok := <-p.pieces:
			if !ok {
				return nil
			}
			if err := send(piece); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestALogIsFollowedFromItsNodeToItsKeeping(t *testing.T) {
	ctx := context.Background()
	store := &shelf{items: map[blobs.Digest][]byte{}}
	node := &pen{pieces: make(chan api.LogPiece)}
	w := newWorld(t, func(c *api.Config) { c.Blobs, c.Logs = store, node })
	p := w.purse()
	secret := client.NewSecret()
	answer, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(300), order(secret)))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	pieces := make(chan string, 10)
	done := make(chan error, 1)
	go func() {
		q := client.LogQuery{Job: answer.Job, View: secret.Key("view"), Stream: "stdout", Follow: true}
		done <- w.c.Logs(ctx, q, func(l client.LogChunk) error {
			got.Write(l.Data)
			pieces <- string(l.Data)
			return nil
		})
	}()
	w.later(10)
	result := w.does(&machine.Place{Decisions: []machine.Placement{{Job: 1, Nodes: []scheduler.NodeID{1}}}})
	var placed machine.PlaceAnswer
	if err := machine.DecodeAnswer(result.Answer, &placed); err != nil {
		t.Fatal(err)
	}
	start := w.at
	w.does(&machine.Report{Runs: []machine.RunReport{{Run: placed.Runs[0], Started: &start}}})
	node.pieces <- api.LogPiece{Offset: 0, Data: []byte("hello\n")}
	if piece := <-pieces; piece != "hello\n" {
		t.Fatalf("piece %q", piece)
	}
	close(node.pieces) // and the node tells no more: what was kept must make it whole
	all := []byte("hello\nworld\n")
	digest := sha256.Sum256(all)
	if err := w.c.PutBlob(ctx, digest, int64(len(all)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(all)), nil }); err != nil {
		t.Fatal(err)
	}
	w.later(2000)
	w.does(&machine.Report{Runs: []machine.RunReport{{Run: placed.Runs[0], Ended: &machine.End{
		At: w.at, Reason: scheduler.ReasonExited, Stdout: scheduler.Log{Digest: digest, Size: 12, Head: 12},
	}}}})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got.String() != string(all) {
		t.Fatalf("log %q", got.String())
	}
	if has, err := w.c.HasBlob(ctx, fmt.Sprintf("%x", digest)); err != nil || !has {
		t.Fatalf("has blob: %t, %v", has, err)
	}
}

func TestTheGapOfALogIsStated(t *testing.T) {
	ctx := context.Background()
	store := &shelf{items: map[blobs.Digest][]byte{}}
	w := newWorld(t, func(c *api.Config) { c.Blobs = store })
	p := w.purse()
	secret := client.NewSecret()
	if _, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(300), order(secret))); err != nil {
		t.Fatal(err)
	}
	kept := []byte("first\nsecond\n" + "last but one\nlast\n")
	digest := sha256.Sum256(kept)
	store.items[digest] = kept
	w.runJobLeaving(1, 2000, scheduler.Log{Digest: digest, Size: 1031, Head: 13, Gap: 1000, Tail: 18})
	view := map[string]string{"Authorization": "Bearer " + secret.Key("view")}
	for query, want := range map[string]string{
		"":             "first\nsecond\n\n[1000 bytes were not kept]\nlast but one\nlast\n",
		"?tail=1":      "last\n",
		"?tail=2":      "last but one\nlast\n",
		"?offset=6":    "second\n\n[1000 bytes were not kept]\nlast but one\nlast\n",
		"?offset=1026": "last\n",
		"?offset=5000": "",
	} {
		if resp, raw := w.get("/v1/jobs/1/logs/stdout"+query, view); resp.StatusCode != 200 || string(raw) != want {
			t.Errorf("%s: %s %q", query, resp.Status, raw)
		}
	}
	if resp, raw := w.get("/v1/jobs/1/logs/stdout", nil); resp.StatusCode != 401 || !strings.Contains(string(raw), "key_missing") {
		t.Errorf("%s %s", resp.Status, raw)
	}
}
