package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding/cashu"
)

// once breaks the connection the first time a path is called.
func once(path, when string) func(string, string) bool {
	done := false
	return func(p, w string) bool {
		if done || p != path || w != when {
			return false
		}
		done = true
		return true
	}
}

// A client that dies at any step of a submission loses nothing: its next start
// finds the request, sends the same bytes, and the mint has taken it once.
func TestAJobWhoseClientDiesIsSentAgainAsItWas(t *testing.T) {
	for _, step := range []string{"written, not sent", "lost on the way", "answer lost", "answered, not written down"} {
		t.Run(step, func(t *testing.T) {
			m := newTestMint(t, 100, 1)
			dir := t.TempDir()
			w := open(t, dir)
			if err := w.Use(t.Context(), m.url()); err != nil {
				t.Fatal(err)
			}
			issue(t, w, m, "first", 1000)
			p := job(t, w, m, 300)
			switch step {
			case "lost on the way", "answer lost":
				m.setFault(once("/v1/jobs", map[string]string{"lost on the way": "before", "answer lost": "after"}[step]))
				if _, err := submit(t.Context(), w, m, p); err == nil {
					t.Fatal("the connection did not break")
				}
			case "answered, not written down":
				if _, err := http.Post(m.url()+p.Path, "application/json", bytes.NewReader(p.Request)); err != nil {
					t.Fatal(err)
				}
			}
			// Meanwhile its coins cannot be spent by others.
			other := open(t, dir)
			if list, err := other.Unfinished(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("a payment was taken from a living process: %v", err)
			}
			if b := balance(t, other, m); b.Free+b.Reserved != 1000 || b.Reserved < 300 {
				t.Errorf("balance %+v", b)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}

			list, err := other.Unfinished(t.Context())
			if err != nil || len(list) != 1 {
				t.Fatalf("unfinished %v %v", list, err)
			}
			again := list[0]
			if again.ID != p.ID || !bytes.Equal(again.Request, p.Request) || again.Secret != p.Secret || again.Path != p.Path ||
				!again.At.Equal(p.At) || len(again.Blanks) != len(p.Blanks) || again.Kind != KindJob || !again.Again || p.Again || again.Pay != 300 {
				t.Errorf("it is not the same: %+v", again)
			}
			number := mustSubmit(t, other, m, again)
			if len(m.jobs) != 1 {
				t.Errorf("%d jobs", len(m.jobs))
			}
			wantFree(t, other, m, 1000-300-p.Fee)
			m.end(t, number, 100)
			if got, err := other.CollectChange(t.Context(), m.url()); err != nil || got != 200 {
				t.Errorf("change %d %v", got, err)
			}
			wantSum(t, other)
			if list, err := other.Unfinished(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("still unfinished: %v %v", list, err)
			}
		})
	}
}

// The wallet's own requests are sent again by Resume. A stock mint does not
// repeat its answers; then the signatures come by restore.
func TestTheWalletsOwnRequestsSurviveLostAnswers(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		for _, forgets := range []bool{false, true} {
			for _, what := range []string{"swap", "receive", "mint"} {
				t.Run(when+" "+what, func(t *testing.T) {
					m := newTestMint(t, 0, 1)
					m.forgets = forgets
					dir := t.TempDir()
					w := open(t, dir)
					if err := w.Use(t.Context(), m.url()); err != nil {
						t.Fatal(err)
					}
					issue(t, w, m, "first", 1000)
					want, err := ownRequest(t, w, m, what, when)
					if err == nil || IsRefusal(err) || !strings.Contains(err.Error(), "nothing is lost") {
						t.Fatalf("the lost answer: %v", err)
					}
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
					next := open(t, dir)
					if err := next.Resume(t.Context()); err != nil {
						t.Fatal(err)
					}
					wantFree(t, next, m, want)
					wantSum(t, next)
					if err := next.Resume(t.Context()); err != nil {
						t.Error(err)
					}
					wantFree(t, next, m, want)
				})
			}
		}
	}
}

// ownRequest does something whose connection breaks, and says what the wallet
// must have in the end.
func ownRequest(t *testing.T, w *Wallet, m *testMint, what, when string) (cashu.Units, error) {
	t.Helper()
	switch what {
	case "swap":
		m.setFault(once("/v1/swap", when))
		return 1000, w.Swap(t.Context(), m.url(), "", []cashu.Units{512})
	case "receive":
		token, err := w.Send(t.Context(), m.url(), "", 100, "", "")
		if err != nil {
			t.Fatal(err)
		}
		m.setFault(once("/v1/swap", when))
		_, err = w.Receive(t.Context(), token.Text)
		return 1000, err
	}
	key, err := w.NewQuoteKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.setFault(once("/v1/mint/voucher", when))
	_, err = w.Issue(t.Context(), m.url(), "voucher", m.quote("second", 50, &key))
	return 1050, err
}

// A mint that says "spent" on the second try and cannot be asked for the
// signatures just then has not refused: the coins may be there.
func TestASecondTryIsNotGivenUpBeforeRestoreWasAsked(t *testing.T) {
	m := newTestMint(t, 0, 1)
	m.forgets = true
	w := funded(t, m, 1000)
	want, err := ownRequest(t, w, m, "mint", "after")
	if err == nil {
		t.Fatal("the answer was not lost")
	}
	m.setFault(once("/v1/restore", "before"))
	if err := w.Resume(t.Context()); err == nil || IsRefusal(err) {
		t.Errorf("restore could not be asked: %v", err)
	}
	if err := w.Resume(t.Context()); err != nil {
		t.Error(err)
	}
	wantFree(t, w, m, want)
}

func TestAQuoteLockedToAnotherKeyIsNotAsked(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 10)
	stranger := cashu.HashToCurve([]byte("stranger"))
	if _, err := w.Issue(t.Context(), m.url(), "voucher", m.quote("q", 5, &stranger)); err == nil {
		t.Error("another's quote was taken")
	}
	if _, err := w.Issue(t.Context(), m.url(), "voucher", m.quote("open", 5, nil)); err != nil {
		t.Errorf("a quote without a key: %v", err)
	}
	if _, err := w.Issue(t.Context(), m.url(), "voucher", cashu.MintQuote{Quote: "none", Amount: 5, Unit: "credit"}); !IsRefusal(err) {
		t.Errorf("a quote that is not: %v", err)
	}
	wantFree(t, w, m, 15)
	wantSum(t, w)
}

// The disk being full is told, at whatever statement it happens, and nothing is
// lost: neither the coins before a payment nor its answer after it.
func TestAFullDiskIsToldAndLosesNothing(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 1000)
	w.db.SetMaxOpenConns(1) // the limit is a connection's
	full := func(on bool) {
		t.Helper()
		var pages int64
		if err := w.db.QueryRow(`PRAGMA page_count`).Scan(&pages); err != nil {
			t.Fatal(err)
		}
		if !on {
			pages = 1 << 30
		}
		if _, err := w.db.Exec(`PRAGMA max_page_count = ` + itoa(pages)); err != nil {
			t.Fatal(err)
		}
	}
	// A request larger than all free pages cannot be written down.
	large := bytes.Repeat([]byte("x"), 1<<20)
	full(true)
	_, err := w.Prepare(t.Context(), jobOrder(m, 300), func(Draft) ([]byte, error) { return large, nil })
	if err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("prepare on a full disk: %v", err)
	}
	wantFree(t, w, m, 1000)
	full(false)
	p := job(t, w, m, 300)
	fill(t, w)
	full(true)
	if _, err := submit(t.Context(), w, m, p); err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("complete on a full disk: %v", err)
	}
	full(false)
	list, err := w.Unfinished(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("the payment is gone: %v", err)
	}
	mustSubmit(t, w, m, list[0])
	wantFree(t, w, m, 700)
	wantSum(t, w)
	if len(m.jobs) != 1 {
		t.Errorf("%d jobs", len(m.jobs))
	}
}

// fill leaves no room in the tables' last pages, so that the next row needs a
// new one.
func fill(t *testing.T, w *Wallet) {
	t.Helper()
	err := w.transact(t.Context(), func(tx local) error {
		_, err := tx.Exec(`CREATE TRIGGER fill BEFORE DELETE ON coins BEGIN
			INSERT INTO history (at, kind, mint, unit, amount, purpose, payment) VALUES (0, 'x', 1, 'x', 0, hex(zeroblob(200000)), 'x'); END`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func itoa(n int64) string {
	var digits []byte
	for ; n > 0; n /= 10 {
		digits = append([]byte{byte('0' + n%10)}, digits...)
	}
	return string(digits)
}

func TestAnswersThatDoNotFitAreNotTaken(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 1000)
	if err := w.Complete(t.Context(), "none", nil); err == nil {
		t.Error("no such payment")
	}
	if err := w.Refused(t.Context(), "none"); err == nil {
		t.Error("no such payment")
	}
	p, err := w.Prepare(t.Context(), Order{Mint: m.url(), Pay: 10, Outputs: []cashu.Units{4}, Method: "POST", Path: "/v1/jobs"}, buildJob(10))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Complete(t.Context(), p.ID, nil); err == nil {
		t.Error("completed without signatures")
	}
	if _, err := w.Collect(t.Context(), p.ID, nil, true); err == nil {
		t.Error("collected before it was paid")
	}
	sign := func(i int, amount cashu.Units) cashu.BlindSignature {
		s, err := m.ring.Sign(m.keysets[0].ID, amount, p.Outputs[i].B_)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := make([]cashu.BlindSignature, len(p.Outputs))
	for i, o := range p.Outputs {
		good[i] = sign(i, o.Amount)
	}
	for name, change := range map[string]func([]cashu.BlindSignature){
		"less":           func(s []cashu.BlindSignature) { s[0] = sign(0, p.Outputs[0].Amount*2) },
		"no proof":       func(s []cashu.BlindSignature) { s[0].DLEQ = nil },
		"another keyset": func(s []cashu.BlindSignature) { s[0].ID = "00456a94ab4e1c46" },
		"no such amount": func(s []cashu.BlindSignature) { s[0].Amount = 3 },
	} {
		bad := append([]cashu.BlindSignature(nil), good...)
		change(bad)
		if err := w.Complete(t.Context(), p.ID, bad); err == nil || IsRefusal(errors.Unwrap(err)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Complete(t.Context(), p.ID, good); err != nil {
		t.Fatal(err)
	}
	before := balance(t, w, m).Free
	if err := w.Complete(t.Context(), p.ID, good); err != nil || balance(t, w, m).Free != before {
		t.Errorf("completed again: %v", err)
	}
	if err := w.Refused(t.Context(), p.ID); err == nil {
		t.Error("a paid payment was refused")
	}
	change, err := m.ring.Sign(m.keysets[0].ID, 8, p.Blanks[0].B_)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []cashu.Units{8, 0} {
		got, err := w.Collect(t.Context(), p.ID, []cashu.BlindSignature{change}, true)
		if err != nil || got != want {
			t.Errorf("collect %d: %d %v", i, got, err)
		}
	}
	many := make([]cashu.BlindSignature, len(p.Blanks)+1)
	if _, err := w.Collect(t.Context(), p.ID, many, true); err == nil {
		t.Error("more signatures than blanks were taken")
	}
	wantSum(t, w)
}

// A command ends without closing the file: what it has written is there, and its
// open payments are another's to finish.
func TestACommandThatLeavesIsTakenOver(t *testing.T) {
	m := newTestMint(t, 0, 1)
	dir := t.TempDir()
	first := open(t, dir)
	if err := first.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	issue(t, first, m, "first", 1000)
	p := job(t, first, m, 300)
	if err := first.Leave(); err != nil {
		t.Fatal(err)
	}
	next := open(t, dir)
	list, err := next.Unfinished(t.Context())
	if err != nil || len(list) != 1 || list[0].ID != p.ID || !bytes.Equal(list[0].Request, p.Request) {
		t.Fatalf("unfinished %v %v", list, err)
	}
	mustSubmit(t, next, m, list[0])
	wantFree(t, next, m, 700)
	wantSum(t, next)
}

// Change is asked for while the next payment is prepared, sent and written down;
// two that ask for the same change get it once.
func TestChangeIsCollectedBesideAnotherPayment(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 1000)
	for range 3 {
		m.end(t, mustSubmit(t, w, m, job(t, w, m, 200)), 50)
	}
	ask, err := w.ChangeToCollect(t.Context(), m.url())
	if err != nil || ask == nil {
		t.Fatalf("nothing to ask for: %v", err)
	}
	twice, err := w.ChangeToCollect(t.Context(), m.url())
	if err != nil || twice == nil {
		t.Fatalf("nothing to ask for: %v", err)
	}
	collected := make(chan error, 1)
	go func() {
		gained, err := ask(context.Background())
		if err == nil && gained != 450 {
			err = fmt.Errorf("%d came back", gained)
		}
		collected <- err
	}()
	mustSubmit(t, w, m, job(t, w, m, 300))
	if err := <-collected; err != nil {
		t.Error(err)
	}
	if gained, err := twice(t.Context()); err != nil || gained != 0 {
		t.Errorf("once more %d %v", gained, err)
	}
	wantFree(t, w, m, 1000-600+450-300)
	wantSum(t, w)
	if ask, err := w.ChangeToCollect(t.Context(), m.url()); err != nil || ask == nil {
		t.Errorf("the last payment's change is not waited for: %v", err)
	}
}

// One payment's forged change is named, and the others' comes.
func TestForgedChangeKeepsNoOtherBack(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 1000)
	for range 2 {
		m.end(t, mustSubmit(t, w, m, job(t, w, m, 200)), 50)
	}
	mint, err := mintOf(t.Context(), w.file, m.url())
	if err != nil {
		t.Fatal(err)
	}
	list, err := w.waitingAt(t.Context(), mint)
	if err != nil || len(list) != 2 {
		t.Fatalf("waiting %v %v", list, err)
	}
	var request cashu.RestoreRequest
	for _, p := range list {
		request.Outputs = append(request.Outputs, messages(p.blanks)...)
	}
	answer, err := overHTTP(m.url()).Restore(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := pairUp(answer)
	if err != nil {
		t.Fatal(err)
	}
	first := list[0].blanks[0].message.B_
	forged := signed[first]
	forged.DLEQ = &cashu.DLEQ{E: forged.DLEQ.S, S: forged.DLEQ.E}
	signed[first] = forged
	gained, err := w.collectBatch(t.Context(), mint, list, signed)
	if !errors.Is(err, ErrForged) || gained != 150 {
		t.Errorf("gained %d, %v", gained, err)
	}
	wantFree(t, w, m, 1000-400+150)
	if gained, err := w.CollectChange(t.Context(), m.url()); err != nil || gained != 150 {
		t.Errorf("the honest answer brings %d %v", gained, err)
	}
}
