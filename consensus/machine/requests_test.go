package machine

import (
	"bytes"
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// ask sends a request that a pot pays for and that does nothing but count.
func ask(tx *Tx, key [16]byte, fingerprint byte, pot funding.PotID, done *int) (any, error) {
	return tx.once(RequestID{Key: key, Fingerprint: [32]byte{fingerprint}}, ofPot(pot), func() (any, error) {
		*done++
		return MintAnswer{Index: uint64(*done)}, nil
	})
}

// Requests that a pot pays for are remembered for a day by their key's own time; what may have been
// forgotten is refused, so nothing is ever done twice.
func TestRequestsOfPots(t *testing.T) {
	w := begun(t)
	tx := &Tx{state: w.m.state, at: dayOne, before: w.m.state.meta}
	done := 0
	code := func(_ any, err error) Code {
		t.Helper()
		if err == nil {
			return OK
		}
		return refusalOf(err).Code
	}
	key := ulidOf(dayOne, "k")
	for _, c := range []struct {
		name        string
		key         [16]byte
		fingerprint byte
		pot         funding.PotID
		want        Code
		done        int
	}{
		{"first", key, 1, 1, OK, 1},
		{"again", key, 1, 1, OK, 1},
		{"other body", key, 2, 1, CodeRequestConflict, 1},
		{"other pot", key, 2, 2, OK, 2},
		{"too old", ulidOf(dayOne-RequestMemory, "o"), 3, 1, CodeRequestOld, 2},
		{"just young enough", ulidOf(dayOne-RequestMemory+1, "y"), 3, 1, OK, 3},
		{"a day ahead", ulidOf(dayOne+RequestMemory, "a"), 3, 1, OK, 4},
		{"further ahead", ulidOf(dayOne+RequestMemory+1, "b"), 3, 1, CodeRequestOld, 4},
		{"no key", [16]byte{}, 3, 1, OK, 5},
		{"no key again", [16]byte{}, 3, 1, OK, 6},
	} {
		if got := code(ask(tx, c.key, c.fingerprint, c.pot, &done)); got != c.want || done != c.done {
			t.Errorf("%s: %s, done %d times; want %s, %d", c.name, got, done, c.want, c.done)
		}
	}
	tx.merge()
	tx.at += RequestMemory
	if got := code(ask(tx, key, 1, 1, &done)); got != OK || done != 6 {
		t.Errorf("remembered as long as it is there: %s", got)
	}
	if n := tx.expire(2); n != 2 {
		t.Errorf("forgot %d, asked for 2", n)
	}
	tx.merge()
	if n := tx.expire(100); n != 1 {
		t.Errorf("forgot %d more, want 1: the one of a day ahead stays", n)
	}
	tx.merge()
	if got := code(ask(tx, key, 1, 1, &done)); got != CodeRequestOld || done != 6 {
		t.Errorf("forgotten: %s, done %d times", got, done)
	}
	if got := code(ask(tx, ulidOf(dayOne+RequestMemory, "a"), 3, 1, &done)); got != OK || done != 6 {
		t.Errorf("of a day ahead: %s, done %d times", got, done)
	}
}

// A token and an unpaid quote whose time is over are forgotten; paid quotes never.
func TestExpire(t *testing.T) {
	w := begun(t)
	for _, line := range []string{
		"token t role=submit for=1h", "token s role=submit", "quote a amount=1 until=1h", "quote b amount=1 until=1h paid", "quote c amount=1",
	} {
		w.play(splitWords(line))
	}
	tx := &Tx{state: w.m.state, at: dayOne + 3_599_999, before: w.m.state.meta}
	if n := tx.expire(10); n != 0 {
		t.Errorf("forgot %d too early", n)
	}
	tx.at++
	if n := tx.expire(1); n != 1 {
		t.Errorf("forgot %d, asked for one", n)
	}
	tx.merge()
	if n := tx.expire(10); n != 1 {
		t.Errorf("forgot %d, one was left", n)
	}
	tx.merge()
	if err := w.m.View().Check(); err != nil {
		t.Error(err)
	}
	if tx.quotes.len() != 3 || tx.tokens.len() != 2 { // b, c and alice's; operator and s
		t.Errorf("%d quotes, %d tokens", tx.quotes.len(), tx.tokens.len())
	}
}

// A balance lapses when its term is over and nobody claimed it; a claimed one is only forgotten.
func TestLapse(t *testing.T) {
	w := begun(t)
	for _, line := range []string{"pot p by=alice pay=5 claim", "close p", "pot q by=alice pay=6 claim", "close q", "claim 2 by=alice"} {
		w.play(splitWords(line))
	}
	tx := &Tx{state: w.m.state, at: dayOne + RefundTerm - 1, before: w.m.state.meta}
	if gone, err := tx.lapse(1); gone || err != nil {
		t.Fatalf("too early: %t %v", gone, err)
	}
	tx.at++
	for id := funding.RefundID(1); id <= 3; id++ {
		if gone, err := tx.lapse(id); gone != (id < 3) || err != nil {
			t.Errorf("refund %d: %t %v", id, gone, err)
		}
	}
	tx.merge()
	w.m.view = nil
	if err := w.m.View().Check(); err != nil {
		t.Error(err)
	}
	if got := w.m.View().Balance(funding.Account{Kind: funding.IncomeRounding}); got != 5*funding.UnitMicro {
		t.Errorf("the operator got %d", got)
	}
}

// The answer that a pot's request is remembered by is the one that was given, whatever the numbers.
func TestKeptAnswersAreThoseGiven(t *testing.T) {
	w := begun(t)
	tx := &Tx{state: w.m.state, at: dayOne, before: w.m.state.meta}
	pot := &funding.Pot{ID: 3, Keys: keysOf("p"), State: funding.PotOpen}
	tx.pots.put(3, pot)
	whole := [32]byte{0: 1, 7: 8, 8: 9}
	for _, answer := range []any{
		SubmitAnswer{Job: 1, Pot: 3, Fund: pot.Keys.Fund, State: scheduler.JobQueued, Held: 5, Bid: 1, Weight: 1, Index: 9},
		SubmitAnswer{Job: 1 << 40, Pot: 3, Fund: pot.Keys.Fund, State: scheduler.JobQueued, Held: funding.PotMax, Bid: funding.RateMax, Weight: funding.WeightMax, Fee: 77, Index: 1 << 60},
		SubmitAnswer{Job: 2, Pot: 3, Fund: pot.Keys.Fund, Deposit: 4, State: scheduler.JobQueued, Held: 5, Bid: 1, Weight: 1, Index: 9},
		PotCreateAnswer{Pot: 3, Fund: pot.Keys.Fund},
	} {
		kept, err := keepOfPot(whole, answer)
		if err != nil {
			t.Fatal(err)
		}
		again, err := tx.answerOfPot(3, kept)
		if err != nil {
			t.Fatal(err)
		}
		first, _ := encoder.Marshal(answer)
		second, _ := encoder.Marshal(again)
		if !bytes.Equal(first, second) {
			t.Errorf("%+v was kept, %+v came back", answer, again)
		}
		if other := [32]byte{0: 1, 7: 9, 8: 9}; !sameAsOfPot(kept, whole) || sameAsOfPot(kept, other) || sameAsOfPot(kept[:3], whole) {
			t.Error("another body is not told apart")
		}
		if _, ok := answer.(SubmitAnswer); ok && kept[0] == keptNumbers {
			if _, err := tx.answerOfPot(3, kept[:len(kept)-1]); err == nil {
				t.Error("one that is cut short was read")
			}
		}
	}
	coins := Request{Fingerprint: shorten(whole), Keyset: 1<<32 - 1, Answer: []byte("answer")}
	if got := withCoins(keepWithCoins(coins)); got.Fingerprint != coins.Fingerprint || got.Keyset != coins.Keyset || !bytes.Equal(got.Answer, coins.Answer) {
		t.Errorf("%+v was kept, %+v came back", coins, got)
	}
	if got := withCoins("short"); got.Keyset != 0 || got.Answer != nil {
		t.Errorf("of five bytes came %+v", got)
	}
}
