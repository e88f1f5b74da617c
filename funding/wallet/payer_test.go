package wallet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/coinop/coinop/funding/cashu"
)

// open opens a wallet that reaches mints over real HTTP.
func open(t testing.TB, dir string) *Wallet {
	t.Helper()
	w, err := Open(context.Background(), Config{Dir: dir, Mint: overHTTP})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func overHTTP(url string) MintClient { return NewHTTPMint(http.DefaultClient, url) }

// funded is a wallet with money from an issue.
func funded(t testing.TB, m *testMint, amount cashu.Units) *Wallet {
	t.Helper()
	w := open(t, t.TempDir())
	if err := w.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	issue(t, w, m, "first", amount)
	return w
}

func issue(t testing.TB, w *Wallet, m *testMint, id string, amount cashu.Units) {
	t.Helper()
	key, err := w.NewQuoteKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.Issue(t.Context(), m.url(), "voucher", m.quote(id, amount, &key)); err != nil || got != amount {
		t.Fatalf("issue %d: %d %v", amount, got, err)
	}
}

// job writes a job's payment down.
func job(t testing.TB, w *Wallet, m *testMint, pay cashu.Units) Payment {
	t.Helper()
	p, err := w.Prepare(t.Context(), jobOrder(m, pay), buildJob(pay))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func jobOrder(m *testMint, pay cashu.Units) Order {
	return Order{Mint: m.url(), Pay: pay, Purpose: "render", Method: "POST", Path: "/v1/jobs", SecretKind: "job", Name: "render"}
}

func buildJob(pay cashu.Units) func(Draft) ([]byte, error) {
	return func(d Draft) ([]byte, error) {
		return json.Marshal(jobRequest{Inputs: d.Inputs, Pay: pay, Outputs: d.Outputs, Blanks: d.Blanks, Key: d.ID})
	}
}

// submit sends a payment as a client does: definite answers are written down.
func submit(ctx context.Context, w *Wallet, m *testMint, p Payment) (int, error) {
	return submitTo(ctx, w, m.url(), p)
}

func submitTo(ctx context.Context, w *Wallet, url string, p Payment) (int, error) {
	response, err := http.Post(url+p.Path, "application/json", bytes.NewReader(p.Request))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	if response.StatusCode == http.StatusBadRequest {
		var refusal cashu.Error
		if err := json.Unmarshal(raw, &refusal); err != nil {
			return 0, err
		}
		return 0, errors.Join(&refusal, w.Refused(ctx, p.ID))
	}
	var answer jobAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return 0, err
	}
	return answer.Job, w.CompleteAs(ctx, p.ID, int64(answer.Job), answer.Signatures)
}

// swapBody is a swap's request.
func swapBody(d Draft) ([]byte, error) {
	return json.Marshal(cashu.SwapRequest{Inputs: d.Inputs, Outputs: d.Outputs})
}

func mustSubmit(t testing.TB, w *Wallet, m *testMint, p Payment) int {
	t.Helper()
	number, err := submit(t.Context(), w, m, p)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func balance(t testing.TB, w *Wallet, m *testMint) Balance {
	t.Helper()
	list, err := w.Balances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		if b.Mint == m.url() {
			return b
		}
	}
	return Balance{}
}

func wantFree(t testing.TB, w *Wallet, m *testMint, want cashu.Units) {
	t.Helper()
	if b := balance(t, w, m); b.Free != want || b.Reserved != 0 {
		t.Errorf("the wallet has %d free and %d reserved, want %d free", b.Free, b.Reserved, want)
	}
}

// wantSum checks that history and coins agree.
func wantSum(t testing.TB, w *Wallet) {
	t.Helper()
	history, err := w.History(t.Context(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var sum, have int64
	for _, line := range history {
		sum += line.Amount
	}
	list, err := w.Balances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		have += int64(b.Free + b.Reserved + b.Lost)
	}
	if sum != have {
		t.Errorf("history adds up to %d, the coins to %d", sum, have)
	}
}
