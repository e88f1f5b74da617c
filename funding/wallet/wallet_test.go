package wallet

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

func TestAJobIsPaidAndItsChangeComesBack(t *testing.T) {
	m := newTestMint(t, 100, 1)
	w := funded(t, m, 1000)
	wantFree(t, w, m, 1000)

	p := job(t, w, m, 300)
	for _, input := range inputsOf(t, p) {
		if input.DLEQ != nil {
			t.Error("a coin is sent with what links it to its issue")
		}
	}
	if len(p.Blanks) != mint.BlanksNeeded(300) || p.Fee == 0 {
		t.Errorf("%d blanks, fee %d", len(p.Blanks), p.Fee)
	}
	number := mustSubmit(t, w, m, p)
	wantFree(t, w, m, 1000-300-p.Fee)

	if got, err := w.CollectChange(t.Context(), m.url()); err != nil || got != 0 {
		t.Errorf("change before the end: %d %v", got, err)
	}
	m.end(t, number, 17)
	if got, err := w.CollectChange(t.Context(), m.url()); err != nil || got != 283 {
		t.Errorf("change %d %v, want 283", got, err)
	}
	if got, err := w.CollectChange(t.Context(), m.url()); err != nil || got != 0 {
		t.Errorf("change again: %d %v", got, err)
	}
	wantFree(t, w, m, 1000-17-p.Fee)
	wantSum(t, w)
	if b := balance(t, w, m); b.Waiting != 0 {
		t.Errorf("%d payments wait for change", b.Waiting)
	}
	if m.issued != 1000 || m.earned != 17+p.Fee {
		t.Errorf("the mint has issued %d and earned %d", m.issued, m.earned)
	}
	// The change is money: all of it but the fee can be spent.
	mustSubmit(t, w, m, job(t, w, m, 1000-17-p.Fee-5))
	wantSum(t, w)
}

func inputsOf(t *testing.T, p Payment) []cashu.Proof {
	t.Helper()
	var r jobRequest
	if err := cashu.DecodeJSON(p.Request, &r); err != nil {
		t.Fatal(err)
	}
	return r.Inputs
}

func TestTheKeyOfAJobIsWrittenDownBeforeItIsSent(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 100)
	p := job(t, w, m, 10)
	held, err := w.Secrets(t.Context(), m.url(), "job")
	if err != nil || len(held) != 1 || held[0].Secret != p.Secret || held[0].Number != 0 || held[0].Name != "render" {
		t.Fatalf("%v %v", held, err)
	}
	if p.Secret == (Secret{}) || strings.Contains(fmt.Sprintf("%v %#v", p.Secret, p.Secret), "0x") {
		t.Error("no secret, or one that shows itself")
	}
	number := mustSubmit(t, w, m, p)
	got, err := w.SecretOf(t.Context(), m.url(), "job", int64(number))
	if err != nil || got.Secret != p.Secret {
		t.Errorf("by its number: %v", err)
	}
	if _, err := w.SecretOf(t.Context(), m.url(), "job", 99); !errors.Is(err, ErrNoSecret) {
		t.Errorf("a job of others: %v", err)
	}
}

// A request that is paid from a pot carries no coins, but is written down too.
func TestARequestWithoutCoins(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 100)
	p, err := w.Prepare(t.Context(), Order{Mint: m.url(), Method: "POST", Path: "/v1/jobs", SecretKind: "job"}, func(d Draft) ([]byte, error) {
		if len(d.Inputs)+len(d.Outputs)+len(d.Blanks) != 0 {
			t.Errorf("draft %+v", d)
		}
		return []byte("{}"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Complete(t.Context(), p.ID, nil); err != nil {
		t.Error(err)
	}
	wantFree(t, w, m, 100)
}

// A refund is owed: its outputs are signed without coins, and it too is sent
// again if its answer is lost.
func TestARefundIsTakenWithoutCoins(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 100)
	order := Order{Mint: m.url(), Method: "POST", Path: "/v1/refunds", NoBlanks: true, Outputs: cashu.Split(37), Free: true}
	p, err := w.Prepare(t.Context(), order, func(d Draft) ([]byte, error) {
		if len(d.Inputs) != 0 || len(d.Blanks) != 0 || len(d.Outputs) != 3 {
			t.Errorf("draft %+v", d)
		}
		return []byte("{}"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := w.Unfinished(t.Context()); err != nil || len(list) != 1 || list[0].ID != p.ID {
		t.Errorf("unfinished %v %v", list, err)
	}
	var signatures []cashu.BlindSignature
	for _, o := range p.Outputs {
		signature, err := m.ring.Sign(o.ID, o.Amount, o.B_)
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, signature)
	}
	if err := w.Complete(t.Context(), p.ID, signatures); err != nil {
		t.Fatal(err)
	}
	wantFree(t, w, m, 137)
	wantSum(t, w)
	paid := jobOrder(m, 9)
	paid.NoBlanks = true
	if p, err := w.Prepare(t.Context(), paid, buildJob(9)); err != nil || len(p.Blanks) != 0 {
		t.Errorf("%d blanks though none were wanted: %v", len(p.Blanks), err)
	}
	order.Pay = 5
	if _, err := w.Prepare(t.Context(), order, buildJob(5)); err == nil {
		t.Error("it pays and is owed at once")
	}
}

func TestMoreThanThereIs(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 100)
	_, err := w.Prepare(t.Context(), jobOrder(m, 101), buildJob(101))
	var short *ErrShort
	if !errors.As(err, &short) || short.Free != 100 || short.Need != 101 {
		t.Errorf("%v", err)
	}
	if _, err := w.Prepare(t.Context(), jobOrder(m, 1<<63), buildJob(1)); err == nil {
		t.Error("2^63 can be paid")
	}
	if _, err := w.Prepare(t.Context(), Order{Mint: "http://nobody"}, buildJob(1)); !errors.Is(err, ErrMintUnknown) {
		t.Errorf("an unknown mint: %v", err)
	}
	failed := errors.New("no")
	if _, err := w.Prepare(t.Context(), jobOrder(m, 5), func(Draft) ([]byte, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("a request that cannot be made: %v", err)
	}
	wantFree(t, w, m, 100)
}

func TestARefusedPaymentFreesItsCoinsAndForgetsItsKey(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 100)
	before := counterOf(t, w)
	p := job(t, w, m, 10)
	m.setFault(nil)
	m.mu.Lock()
	m.keysets[0].State = mint.KeysetRetiring // no new outputs
	m.mu.Unlock()
	if _, err := submit(t.Context(), w, m, p); !errors.Is(err, &cashu.Error{Code: cashu.CodeKeysetInactive}) {
		t.Fatalf("%v", err)
	}
	wantFree(t, w, m, 100)
	if held, _ := w.Secrets(t.Context(), m.url(), "job"); len(held) != 0 {
		t.Error("the key of a job that is not is kept")
	}
	if counterOf(t, w) <= before {
		t.Error("counters went back")
	}
	if err := w.Refused(t.Context(), p.ID); err != nil {
		t.Errorf("refused again: %v", err)
	}
	if err := w.Complete(t.Context(), p.ID, nil); err == nil {
		t.Error("a refused payment was completed")
	}
	wantSum(t, w)
}

func counterOf(t *testing.T, w *Wallet) (n int64) {
	t.Helper()
	if err := w.db.QueryRow(`SELECT sum(counter) FROM keysets`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestATokenGoesFromOneWalletToAnother(t *testing.T) {
	m := newTestMint(t, 100, 1)
	alice := funded(t, m, 1000)
	carol := open(t, t.TempDir())
	token, err := alice.Send(t.Context(), m.url(), "", 333, "for lunch", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := carol.Receive(t.Context(), token.Text); !errors.Is(err, ErrMintUnknown) {
		t.Errorf("from an unknown mint: %v", err)
	}
	if err := carol.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	got, err := carol.Receive(t.Context(), token.Text)
	if err != nil || got < 330 || got >= 333 {
		t.Fatalf("received %d %v", got, err)
	}
	wantFree(t, carol, m, got)
	wantSum(t, alice)
	wantSum(t, carol)
	// The sender cannot take it back, and nobody can take it twice.
	for _, w := range []*Wallet{alice, carol} {
		if _, err := w.Receive(t.Context(), token.Text); !errors.Is(err, &cashu.Error{Code: cashu.CodeSpent}) {
			t.Errorf("received again: %v", err)
		}
		wantSum(t, w)
	}
	// The mint's public URL is another one than carol knows it by; its keysets are the same.
	public, err := alice.Send(t.Context(), m.url(), "", 32, "", "https://mint.example/mint/")
	if err != nil {
		t.Fatal(err)
	}
	if decoded, err := cashu.DecodeToken(public.Text); err != nil || decoded.Mint != "https://mint.example/mint" {
		t.Errorf("the token names %q, %v", decoded.Mint, err)
	}
	if got, err := carol.Receive(t.Context(), public.Text); err != nil || got == 0 {
		t.Errorf("by the public URL: %d %v", got, err)
	}
	if _, err := open(t, t.TempDir()).Receive(t.Context(), public.Text); !errors.Is(err, ErrMintUnknown) {
		t.Errorf("a stranger's keysets: %v", err)
	}
	// One that was never received can be taken back.
	second, err := alice.Send(t.Context(), m.url(), "credit", 64, "", "")
	if err != nil {
		t.Fatal(err)
	}
	sent, err := alice.Sent(t.Context())
	if err != nil || len(sent) != 3 || sent[0].Text != second.Text || sent[0].Amount != 64 {
		t.Errorf("sent %v %v", sent, err)
	}
	if _, err := alice.Receive(t.Context(), second.Text); err != nil {
		t.Error(err)
	}
	wantSum(t, alice)
	if _, err := alice.Send(t.Context(), m.url(), "", 0, "", ""); err == nil {
		t.Error("nothing was sent")
	}
	var short *ErrShort
	if _, err := alice.Send(t.Context(), m.url(), "", 5000, "", ""); !errors.As(err, &short) {
		t.Errorf("more than there is: %v", err)
	}
}

func TestAForgedTokenIsSeenBeforeTheMintIsAsked(t *testing.T) {
	m := newTestMint(t, 0, 1)
	alice, carol := funded(t, m, 100), open(t, t.TempDir())
	if err := carol.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	token, err := alice.Send(t.Context(), m.url(), "", 64, "", "")
	if err != nil {
		t.Fatal(err)
	}
	good, err := cashu.DecodeToken(token.Text)
	if err != nil {
		t.Fatal(err)
	}
	if good.Proofs[0].DLEQ == nil || good.Proofs[0].DLEQ.R == nil {
		t.Error("the token carries no proof for its receiver")
	}
	for name, change := range map[string]func(*cashu.Token){
		"another secret": func(k *cashu.Token) { k.Proofs[0].Secret = strings.Repeat("ab", 32) },
		"another amount": func(k *cashu.Token) { k.Proofs[0].Amount *= 2 },
		"no such amount": func(k *cashu.Token) { k.Proofs[0].Amount = 3 },
		"another unit":   func(k *cashu.Token) { k.Unit = "sat" },
		"another keyset": func(k *cashu.Token) { k.Proofs[0].ID = "00456a94ab4e1c46" },
	} {
		bad := good
		bad.Proofs = append([]cashu.Proof(nil), good.Proofs...)
		change(&bad)
		text, err := cashu.EncodeToken(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := carol.Receive(t.Context(), text); err == nil {
			t.Errorf("%s: received", name)
		}
	}
	if m.calls["/v1/swap"] != 0 { // Alice has had a coin of 64
		t.Errorf("the mint was asked %d times", m.calls["/v1/swap"])
	}
	short := good
	short.Proofs = append([]cashu.Proof(nil), good.Proofs...)
	for i := range short.Proofs {
		short.Proofs[i].ID = short.Proofs[i].ID[:16]
		short.Proofs[i].DLEQ = nil
	}
	text, err := cashu.EncodeToken(short)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := carol.Receive(t.Context(), text); err != nil || got != 64 {
		t.Errorf("with a short keyset id and no proofs: %d %v", got, err)
	}
}

func TestTheFolderIsForItsOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder?with#odd%name")
	w := open(t, dir)
	for _, path := range []string{dir, filepath.Join(dir, "wallet.db")} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	if len(strings.Fields(w.Words())) != 12 {
		t.Errorf("words %q", w.Words())
	}
	again := open(t, dir)
	if again.Words() != w.Words() {
		t.Error("the second handle has other words")
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if _, err := again.Balances(t.Context()); err == nil {
		t.Error("a closed wallet still answers")
	}
	if left, err := os.ReadDir(filepath.Join(dir, ownersFolder)); err != nil || len(left) != 1 {
		t.Errorf("files of owners: %v %v", left, err)
	}
	other := "half depart obvious quality work element tank gorilla view sugar picture humble"
	for _, words := range []string{other, "half depart"} {
		if w, err := Open(t.Context(), Config{Dir: dir, Mint: overHTTP, Words: words}); err == nil {
			_ = w.Close()
			t.Errorf("opened with %q", words)
		}
	}
	if _, err := Open(t.Context(), Config{Mint: overHTTP}); err == nil {
		t.Error("opened nowhere")
	}
}

func TestOnlyACodedAnswerIsARefusal(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		no     bool
	}{
		{400, `{"code":11001,"detail":"spent"}`, true}, {429, `{"code":80001,"detail":"slow down"}`, true},
		{400, `{"detail":"?"}`, false}, {404, `<html>`, false}, {503, `{"code":11001,"detail":"x"}`, false}, {502, ``, false},
	} {
		if err := refusal(c.status, []byte(c.body)); IsRefusal(err) != c.no {
			t.Errorf("%d %s: %v", c.status, c.body, err)
		}
	}
	client := NewHTTPMint(http.DefaultClient, "http://127.0.0.1:1")
	if _, err := client.Info(t.Context()); err == nil || IsRefusal(err) {
		t.Errorf("nobody there: %v", err)
	}
	m := newTestMint(t, 0, 1)
	client = NewHTTPMint(http.DefaultClient, m.url()+"/")
	if info, err := client.Info(t.Context()); err != nil || info.Name != "test" {
		t.Errorf("%v %v", info, err)
	}
	m.quote("q", 5, nil)
	if q, err := client.MintQuote(t.Context(), "voucher", "q"); err != nil || q.Amount != 5 {
		t.Errorf("%v %v", q, err)
	}
}
