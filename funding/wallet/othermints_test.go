package wallet

import (
	"errors"
	"strings"
	"testing"
)

func TestAMintThatSignsWithAnotherKeyIsCaught(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 100)
	key, err := w.NewQuoteKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.forges = true
	quote := m.quote("second", 50, &key)
	if _, err := w.Issue(t.Context(), m.url(), "voucher", quote); !errors.Is(err, ErrForged) || IsRefusal(err) {
		t.Errorf("%v", err)
	}
	wantFree(t, w, m, 100)
	// Nothing was given up: once it signs rightly, the coins are there.
	m.forges, m.forgets = false, true
	if err := w.Resume(t.Context()); err != nil {
		t.Error(err)
	}
	wantFree(t, w, m, 150)
	wantSum(t, w)
}

func TestTwoMintsKeepTheirCoinsApart(t *testing.T) {
	one, two := newTestMint(t, 0, 1), newTestMint(t, 0, 2)
	w := funded(t, one, 100)
	if err := w.Use(t.Context(), two.url()); err != nil {
		t.Fatal(err)
	}
	issue(t, w, two, "second", 50)
	wantFree(t, w, one, 100)
	wantFree(t, w, two, 50)
	mustSubmit(t, w, two, job(t, w, two, 50))
	wantFree(t, w, one, 100)
	wantFree(t, w, two, 0)
	wantSum(t, w)
}

// A mint that shows another's keysets would be sent the other's coins.
func TestAnotherAddressOfAMintMustBeVouchedFor(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 100)
	other := strings.Replace(m.url(), "127.0.0.1", "localhost", 1)
	if err := w.Use(t.Context(), other); err == nil || !strings.Contains(err.Error(), m.url()) {
		t.Errorf("a second address alone: %v", err)
	}
	if err := w.Use(t.Context(), "http://127.0.0.1:1/mint", m.url(), other); err != nil {
		t.Fatalf("both together: %v", err)
	}
	order := jobOrder(m, 10)
	order.Mint = other + "/"
	p, err := w.Prepare(t.Context(), order, buildJob(10))
	if err != nil {
		t.Fatal(err)
	}
	mustSubmit(t, w, m, p)
	wantFree(t, w, m, 90)
	elsewhere := newTestMint(t, 0, 2)
	if err := w.Use(t.Context(), elsewhere.url()); err != nil {
		t.Fatal(err)
	}
	if err := w.Use(t.Context(), elsewhere.url(), m.url()); err == nil {
		t.Error("two mints became one")
	}
	if err := w.Use(t.Context(), "http://127.0.0.1:1/mint"); err == nil {
		t.Error("nobody answered and nothing was said")
	}
	if err := w.Use(t.Context()); err == nil {
		t.Error("no URL")
	}
	if known, err := w.Knows(t.Context(), other); err != nil || !known {
		t.Error("the second address is not known")
	}
}

func TestAfterARotationOldCoinsGoFirst(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 1000)
	m.rotate(t, 0)
	if err := w.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	issue(t, w, m, "again", 1000)
	p := job(t, w, m, 500)
	for _, input := range inputsOf(t, p) {
		if input.ID != m.keysets[0].ID {
			t.Errorf("a coin of %d of the new keyset was taken", input.Amount)
		}
	}
	for _, o := range append(p.Outputs, p.Blanks...) {
		if o.ID != m.keysets[1].ID {
			t.Error("an output is of the old keyset")
		}
	}
	mustSubmit(t, w, m, p)
	wantFree(t, w, m, 1500)
	// A keyset that the mint lists no more is worth nothing, and is not sent.
	m.mu.Lock()
	m.keysets = m.keysets[1:]
	m.mu.Unlock()
	if err := w.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	if b := balance(t, w, m); b.Free+b.Lost != 1500 && b.Lost == 0 {
		t.Errorf("balance %+v", b)
	}
	wantSum(t, w)
}

func TestAMintWhoseKeysDoNotHashToTheirIDIsNotUsed(t *testing.T) {
	m := newTestMint(t, 0, 1)
	m.keysets[0].InputFeePPK = 5
	w := open(t, t.TempDir())
	if err := w.Use(t.Context(), m.url()); err == nil || !strings.Contains(err.Error(), "hash") {
		t.Errorf("%v", err)
	}
}
