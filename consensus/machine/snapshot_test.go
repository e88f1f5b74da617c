package machine

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// A snapshot that is cut short, changed in any byte or followed by something is refused; nothing of
// it is used.
func TestDamagedSnapshots(t *testing.T) {
	w := begun(t)
	w.play(strings.Fields("pot p by=alice pay=10"))
	good := snapshotOf(t, w.m)
	refused := func(what string, at int, snapshot []byte) {
		t.Helper()
		if m, err := Restore(bytes.NewReader(snapshot)); err == nil || m != nil {
			t.Fatalf("a snapshot %s byte %d was restored", what, at)
		}
	}
	for at := range good {
		if at%7 == 0 || at > len(good)-80 || at < 200 {
			refused("cut short at", at, good[:at])
		}
		flipped := bytes.Clone(good)
		flipped[at] ^= 1 << (at % 8)
		refused("with a flipped bit in", at, flipped)
	}
	refused("followed by something at", len(good), append(bytes.Clone(good), 0))
	if _, err := Restore(bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(iotest.OneByteReader(bytes.NewReader(good))); err != nil {
		t.Fatalf("in small pieces: %v", err)
	}
}

// A failing disk is said to fail.
func TestSnapshotErrors(t *testing.T) {
	w := begun(t)
	if err := Snapshot(w.m.View(), failing{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write: %v", err)
	}
	if _, err := Restore(iotest.ErrReader(io.ErrClosedPipe)); err == nil {
		t.Error("read: no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// What is derived is not in a snapshot and is there after a restore: names, fund ids, what is due.
func TestRestoreRebuildsWhatIsDerived(t *testing.T) {
	w := newWorld(t)
	for _, line := range []string{
		"init server", "issue alice 100", "pot p by=alice pay=10 key=k", "deposit p by=alice pay=3 claim", "pot q by=alice pay=5 claim",
		"close q", "token t role=submit for=1h", "quote late amount=5 until=1h", "quote ext amount=5 paid ext=e1",
	} {
		w.play(strings.Fields(line))
	}
	before, after := w.m.View(), restored(t, w.m).View()
	if pot, ok := after.PotByFund(keyOf("fund", "p")); !ok || pot.ID != 1 {
		t.Error("the pot is not found by its fund id")
	}
	if pool, ok := after.PoolByName("default"); !ok || pool.ID != 1 {
		t.Error("the pool is not found by its name")
	}
	for _, hours := range []int64{0, 1, 10_000} {
		at := dayOne + 3_600_000*1
		if hours == 0 {
			at = dayOne
		}
		if after.ExpireDue(at) != before.ExpireDue(at) || after.ExpireDue(at) != (hours != 0) {
			t.Errorf("after %d hours: due is %t, was %t", hours, after.ExpireDue(at), before.ExpireDue(at))
		}
	}
	if due := after.RefundsDue(dayOne+RefundTerm, 10); len(due) != 1 {
		t.Errorf("refunds due: %v", due)
	}
	if due := after.RefundsDue(dayOne+RefundTerm-1, 10); len(due) != 0 {
		t.Errorf("refunds due too early: %v", due)
	}
	w.m = restored(t, w.m)
	if got := w.play(strings.Fields("quote other amount=5 paid ext=e1")); got != "request_conflict" {
		t.Errorf("a rail's payment came in twice: %s", got)
	}
	if got := w.play(strings.Fields("pot p2 keys=p by=alice pay=1")); got != "fund_taken" {
		t.Errorf("a fund id was taken twice: %s", got)
	}
}
