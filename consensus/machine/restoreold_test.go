package machine

import (
	"bytes"
	"testing"
)

// An older snapshot is restored: coins that were spent since would be good again, so no old coin is
// taken and none is signed until the operator has reconciled. New keysets work at once.
func TestOldSnapshotStopsItsKeysets(t *testing.T) {
	w := newWorld(t)
	say := func(want, line string) {
		t.Helper()
		if got := w.play(splitWords(line)); got != want {
			t.Fatalf("%s: %s, want %s", line, got, want)
		}
	}
	say("ok", "init")
	say("balance=100", "issue alice 100")
	say("pot 1", "pot p by=alice pay=40")
	var old bytes.Buffer
	if err := StopKeysets(bytes.NewReader(snapshotOf(t, w.m)), &old); err != nil {
		t.Fatal(err)
	}
	m, err := Restore(&old)
	if err != nil {
		t.Fatal(err)
	}
	w.m = m
	say("keyset_stopped", "swap alice")
	say("keyset_stopped", "pot q by=alice pay=10")
	say("stopped=[1]", "reconcile")
	say("keyset 2", "keyset new 2")
	say("balance=7", "issue bob 7")
	say("closed refunded=40000000", "close p")
	say("60", "collect alice") // not to blanks of a stopped keyset: claimable instead
	say("balance=100", "claim 1 by=alice key=p")
	say("keyset_unknown", "reconcile 9")
	say("token_unknown", "reconcile 1 token=stranger")
	say("stopped=[]", "reconcile 1")
	say("balance=100", "swap alice")
}
