package consensus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
)

func mustEncode(c machine.Command, at funding.Millis) []byte {
	b, err := machine.Encode(at, c)
	if err != nil {
		panic(err)
	}
	return b
}

func TestACompactedServerStartsFromItsSnapshot(t *testing.T) {
	c := newCluster(t, true, func(_ int, c *Config) { c.Tuning.TrailingLogs = 1 })
	m := c.found()
	for i := range 20 {
		mustPropose(t, m.Node, i)
	}
	if err := m.Compact(); err != nil {
		t.Fatal(err)
	}
	mustPropose(t, m.Node, 20)
	sum := m.View().Sum()
	c.stop(m)
	c.start(m)
	c.leader()
	if m.View().Sum() != sum {
		t.Fatal("another state than before")
	}
	if _, err := m.fsm.events.after(0, 10); !errors.Is(err, ErrBehind) {
		t.Fatalf("events from before the snapshot: %v", err)
	}
	last := m.View().Seq()
	list, err := m.Events(t.Context(), last-1, 10)
	if err != nil || len(list) != 1 || list[0].Seq != last {
		t.Fatalf("%v, %v", list, err)
	}
}

// With all cores as with one: a snapshot that is cut short or changed is refused, wherever.
func TestADamagedStateIsNotRestored(t *testing.T) {
	m := newCluster(t, true, nil).found()
	for i := range 20 {
		mustPropose(t, m.Node, i)
	}
	var saved bytes.Buffer
	if err := m.SnapshotSave(t.Context(), &saved); err != nil {
		t.Fatal(err)
	}
	good := saved.Bytes()
	if restored, err := restore(bytes.NewReader(good)); err != nil || restored.View().Sum() != m.View().Sum() {
		t.Fatal("the whole one:", err)
	}
	for at := 0; at < len(good); at += 7 {
		if restored, err := restore(bytes.NewReader(good[:at])); err == nil || restored != nil {
			t.Fatalf("cut before byte %d of %d, it was restored", at, len(good))
		}
		flipped := bytes.Clone(good)
		flipped[at] ^= 1 << (at % 8)
		if restored, err := restore(bytes.NewReader(flipped)); err == nil || restored != nil {
			t.Fatalf("with a bit of byte %d turned, it was restored", at)
		}
	}
}

func TestASavedStateIsRestoredIntoANewCluster(t *testing.T) {
	old := newCluster(t, true, nil)
	old.three()
	mustPropose(t, old.leader().Node, 1)
	var saved bytes.Buffer
	if err := old.follower().SnapshotSave(t.Context(), &saved); err != nil {
		t.Fatal(err)
	}
	if err := old.leader().SnapshotRestore(t.Context(), bytes.NewReader(saved.Bytes())); err == nil {
		t.Fatal("restored over three servers")
	}

	var said lines
	c := newCluster(t, true, func(_ int, c *Config) { c.Log = slog.New(slog.NewTextHandler(&said, nil)) })
	m := c.found()
	mustPropose(t, m.Node, 2)
	bent := bytes.Clone(saved.Bytes())
	bent[len(bent)/2] ^= 1
	if err := m.SnapshotRestore(t.Context(), bytes.NewReader(bent)); err == nil {
		t.Fatal("a damaged file was restored")
	}
	if !has(m.View(), 2) {
		t.Fatal("a refused restore changed something")
	}
	if err := m.SnapshotRestore(t.Context(), &saved); err != nil {
		t.Fatal(err)
	}
	if !has(m.View(), 1) || has(m.View(), 2) {
		t.Fatal("not the saved state")
	}
	if list := m.Servers(); len(list) != 1 || list[0].ID != m.ID() {
		t.Fatalf("servers of the saved cluster are still members: %v", list)
	}
	if k := m.View().Keysets(); len(k) != 1 || !k[0].Stopped {
		t.Fatal("the restored state's coins are taken as if nothing had happened since")
	}
	mustPropose(t, m.Node, 3)
	late := c.join()
	if _, err := late.Linearize(t.Context()); err != nil || !has(late.View(), 1) || !has(late.View(), 3) {
		t.Fatalf("a server that joined afterwards has another state: %v", err)
	}
	// The state that it is given is from before any of the two was a member.
	if n := said.count("failed to install snapshot"); n > 0 {
		t.Errorf("the snapshot was sent %d times in vain", n)
	}
}

// lines is a log that is counted.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.text.Bytes(), []byte(what))
}

func TestEventsAreMadeAgainFromTheLog(t *testing.T) {
	c := newCluster(t, true, func(_ int, c *Config) { c.Tuning.EventsMax = 4 })
	m := c.found()
	for i := range 30 {
		mustPropose(t, m.Node, i)
	}
	last := m.View().Seq()
	if _, err := m.Events(t.Context(), 0, 10); !errors.Is(err, ErrBehind) {
		t.Fatalf("a ring of four has everything: %v", err)
	}
	var hash [32]byte
	seq := uint64(0)
	again := func(events []machine.Event) error {
		for _, e := range events {
			want, err := machine.ChainHash(hash, e)
			if err != nil || e.Seq != seq+1 || e.Hash != want {
				t.Fatalf("event %d after %d: %v", e.Seq, seq, err)
			}
			hash, seq = e.Hash, e.Seq
		}
		return nil
	}
	if err := m.Replay(t.Context(), 0, again); err != nil || seq != last {
		t.Fatalf("made up to %d of %d: %v", seq, last, err)
	}
	hash, seq = [32]byte{}, 0
	if err := m.Replay(t.Context(), last-1, func(events []machine.Event) error {
		if len(events) != 1 || events[0].Seq != last {
			t.Errorf("%v", events)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestTheLogIsKeptUntilTheBookHoldsItsEvents(t *testing.T) {
	full := errors.New("the book's disk is full")
	fail := true
	c := newCluster(t, true, func(_ int, c *Config) {
		c.Booked = func(context.Context, uint64) error {
			if fail {
				return full
			}
			return nil
		}
	})
	m := c.found()
	if err := m.Compact(); err == nil || !strings.Contains(err.Error(), full.Error()) {
		t.Fatalf("compacted: %v", err)
	}
	fail = false
	if err := m.Compact(); err != nil {
		t.Fatal(err)
	}
}

func TestASnapshotIsTakenByBytes(t *testing.T) {
	c := newCluster(t, true, func(_ int, c *Config) { c.Tuning.SnapshotBytes = 100 })
	m := c.found()
	for i := range 20 {
		mustPropose(t, m.Node, i)
	}
	var size int64
	until(t, "a snapshot", func() error {
		list, err := m.stores.Load().Snapshots.List()
		if err != nil || len(list) == 0 {
			return errors.Join(err, errNotYet)
		}
		size = list[0].Size
		return nil
	})
	for bytes, due := range map[int64]bool{99: false, size/4 - 1: false, size / 4: true} {
		if m.fsm.bytes.Store(bytes); m.snapshotDue() != due {
			t.Errorf("%d bytes after a snapshot of %d: due is %v", bytes, size, !due)
		}
	}
}
