package wallet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/coinop/coinop/funding/cashu"
)

// This binary started again with childDir is one of sixteen clients.
const (
	childDir  = "COINOP_TEST_WALLET_DIR"
	childMint = "COINOP_TEST_WALLET_MINT"
	childDies = "COINOP_TEST_WALLET_DIES"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(context.Background(), dir, os.Getenv(childMint), os.Getenv(childDies)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child does what a client does: first what is unfinished, then a job of its own.
func child(ctx context.Context, dir, url, dies string) error {
	w, err := Open(ctx, Config{Dir: dir, Mint: overHTTP, Wait: time.Minute})
	if err != nil {
		return err
	}
	m := &testMint{}
	at := func(p Payment) error {
		_, err := submitTo(ctx, w, url, p)
		return err
	}
	if err := w.Resume(ctx); err != nil {
		return err
	}
	left, err := w.Unfinished(ctx)
	if err != nil {
		return err
	}
	for _, p := range left {
		if err := at(p); err != nil {
			return err
		}
	}
	order := jobOrder(m, 1000)
	order.Mint = url
	p, err := w.Prepare(ctx, order, buildJob(1000))
	if err != nil {
		return err
	}
	if dies == "prepared" {
		os.Exit(0) // without a word to anyone
	}
	if err := at(p); err != nil {
		return err
	}
	if _, err := w.CollectChange(ctx, url); err != nil {
		return err
	}
	return w.Close()
}

// Sixteen processes submit at once from one wallet that was issued one sum; two
// of them die with their payment written down. All sixteen jobs are paid once.
func TestSixteenProcessesSubmitAtOnce(t *testing.T) {
	m := newTestMint(t, 100, 1)
	dir := t.TempDir()
	w := open(t, dir)
	if err := w.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	issue(t, w, m, "first", 1_000_000)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), childDir+"="+dir, childMint+"="+m.url())
			if i%8 == 3 {
				cmd.Env = append(cmd.Env, childDies+"=prepared")
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("client %d: %v %s", i, err, out)
			}
		}()
	}
	wait.Wait()
	left, err := w.Unfinished(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range left {
		mustSubmit(t, w, m, p)
	}
	if len(m.jobs) != 16 {
		t.Errorf("%d jobs", len(m.jobs))
	}
	keys := map[string]bool{}
	for _, j := range m.jobs {
		if keys[j.key] {
			t.Errorf("job %s was taken twice", j.key)
		}
		keys[j.key] = true
	}
	for i := range m.jobs {
		m.end(t, i+1, 1)
	}
	if _, err := w.CollectChange(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	wantFree(t, w, m, 1_000_000-m.earned)
	wantSum(t, w)
}

// Where all money lies in one coin, the second payment waits for the change of
// the first instead of failing.
func TestAPaymentWaitsForCoinsUnderWay(t *testing.T) {
	m := newTestMint(t, 0, 1)
	dir := t.TempDir()
	one, two := open(t, dir), open(t, dir)
	if err := one.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	one.mustHaveOneCoin(t, m, 1024)
	p := job(t, one, m, 10)
	done := make(chan error, 1)
	go func() {
		q, err := two.Prepare(t.Context(), jobOrder(m, 500), buildJob(500))
		if err == nil {
			_, err = submit(t.Context(), two, m, q)
		}
		done <- err
	}()
	mustSubmit(t, one, m, p)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantFree(t, one, m, 1024-510)
	// Cancelling ends the waiting.
	q := job(t, one, m, 510)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := two.Prepare(ctx, jobOrder(m, 400), buildJob(400)); err == nil {
		t.Error("it did not end")
	}
	mustSubmit(t, one, m, q)
}

// mustHaveOneCoin gives the wallet a single coin.
func (w *Wallet) mustHaveOneCoin(t *testing.T, m *testMint, amount cashu.Units) {
	t.Helper()
	issue(t, w, m, "one", amount)
	have := balance(t, w, m).Free
	p, err := w.prepare(t.Context(), KindSwap, Order{Mint: m.url(), Outputs: []cashu.Units{have}, Method: "POST", Path: "/v1/swap"},
		Secret{}, func(d Draft) ([]byte, error) { return swapBody(d) })
	if err != nil {
		t.Fatal(err)
	}
	if err := w.send(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if b := balance(t, w, m); b.Coins != 1 {
		t.Fatalf("%d coins", b.Coins)
	}
}

func TestTwelveWordsBringTheCoinsBack(t *testing.T) {
	m := newTestMint(t, 100, 1)
	w := funded(t, m, 1000)
	spentOne := mustSubmit(t, w, m, job(t, w, m, 100))
	m.rotate(t, 0)
	if err := w.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	issue(t, w, m, "again", 500)
	for range 20 { // refusals leave gaps
		if err := w.Refused(t.Context(), job(t, w, m, 30).ID); err != nil {
			t.Fatal(err)
		}
	}
	running := mustSubmit(t, w, m, job(t, w, m, 200))
	m.end(t, spentOne, 40)
	if _, err := w.CollectChange(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	want := balance(t, w, m).Free

	lost, err := Open(t.Context(), Config{Dir: t.TempDir(), Mint: overHTTP, Words: "  " + strings.ToUpper(w.Words())})
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close()
	found, err := lost.Restore(t.Context(), m.url())
	if err != nil || found.Amount["credit"] != want {
		t.Fatalf("found %v %v, want %d", found, err, want)
	}
	wantFree(t, lost, m, want)
	// The job that still runs has blanks which this wallet has forgotten. They
	// are not used again, and their change is found by another restore.
	q := job(t, lost, m, 50)
	mustSubmit(t, lost, m, q)
	m.end(t, running, 150)
	found, err = lost.Restore(t.Context(), m.url())
	if err != nil || found.Amount["credit"] != 50 || found.Coins != cashu.SplitCount(50) {
		t.Errorf("found %v %v, want 50", found, err)
	}
	wantFree(t, lost, m, want-50-q.Fee+50)
	wantSum(t, lost)
}

func TestTheSearchEndsAfterItsGap(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := open(t, t.TempDir())
	if found, err := w.Restore(t.Context(), m.url()); err != nil || found.Coins != 0 {
		t.Errorf("found %v %v", found, err)
	}
	if asked := m.calls["/v1/restore"]; asked != restoreGap/restoreBatch {
		t.Errorf("asked %d times for an empty wallet, want %d", asked, restoreGap/restoreBatch)
	}
	if counterOf(t, w) != 0 {
		t.Error("counters moved though nothing was found")
	}
}

// A copy of a wallet offers coins that the first has spent; it is refused, and
// prune tells which to forget.
func TestCoinsThatWereSpentElsewhereAreForgotten(t *testing.T) {
	m := newTestMint(t, 0, 1)
	w := funded(t, m, 100)
	twin := open(t, t.TempDir())
	if err := twin.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	issue(t, twin, m, "twin", 7)
	err := twin.transact(t.Context(), func(tx local) error {
		var coins []cashu.Proof
		for _, secret := range mustSecrets(t, w) {
			coin, err := readCoinOf(t, w, secret)
			if err != nil {
				return err
			}
			coins = append(coins, coin)
		}
		_, err := storeCoins(tx, coins)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p := job(t, w, m, 50)
	mustSubmit(t, w, m, p)
	if _, err := submit(t.Context(), twin, m, job(t, twin, m, 105)); !errors.Is(err, &cashu.Error{Code: cashu.CodeSpent}) {
		t.Errorf("spent coins: %v", err)
	}
	if gone, err := twin.Prune(t.Context(), m.url()); err != nil || gone != 50 {
		t.Errorf("pruned %d %v, want 50", gone, err)
	}
	wantFree(t, twin, m, 57)
	mustSubmit(t, twin, m, job(t, twin, m, 57))
	if gone, err := w.Prune(t.Context(), m.url()); err != nil || gone != 50 {
		t.Errorf("pruned %d %v from the first, want 50", gone, err)
	}
	wantSum(t, w)
}

func mustSecrets(t *testing.T, w *Wallet) []string {
	t.Helper()
	list, err := column(t.Context(), w.db, `SELECT secret FROM coins ORDER BY amount`)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func readCoinOf(t *testing.T, w *Wallet, secret string) (coin cashu.Proof, err error) {
	t.Helper()
	err = w.transact(t.Context(), func(tx local) error {
		coin, err = readCoin(tx, secret)
		return err
	})
	return coin, err
}

func TestChosenCoinsPayExactlyOrWithChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		powers := rapid.SliceOfN(rapid.IntRange(0, 20), 0, 60).Draw(t, "coins")
		fee := uint64(rapid.IntRange(0, 2000).Draw(t, "fee"))
		pay := cashu.Units(rapid.Uint64Range(0, 1<<21).Draw(t, "pay"))
		var coins []candidate
		var total cashu.Units
		for i, power := range powers {
			coins = append(coins, candidate{secret: fmt.Sprint(i), amount: 1 << power, fee: fee, old: i%3 == 0})
			total += 1 << power
		}
		chosen, charged, ok := choose(coins, pay)
		if !ok {
			all := feeOf(coins)
			if total >= pay+all && fee == 0 && pay > 0 {
				t.Fatalf("%d of %d could not be paid", pay, total)
			}
			return
		}
		var sum cashu.Units
		seen := map[string]bool{}
		for _, coin := range chosen {
			if seen[coin.secret] {
				t.Fatalf("coin %s twice", coin.secret)
			}
			seen[coin.secret] = true
			sum += coin.amount
		}
		if pay > 0 && (sum < pay+charged || charged != feeOf(chosen)) {
			t.Fatalf("%d chosen for %d and %d", sum, pay, charged)
		}
	})
}

func TestCoinsAreSpreadWithinTheirLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := cashu.Units(rapid.Uint64Range(0, 1<<33).Draw(t, "amount"))
		limit := rapid.IntRange(0, 60).Draw(t, "limit")
		coins := spread(amount, nil, limit)
		var sum cashu.Units
		for _, coin := range coins {
			if !coin.IsCoin() {
				t.Fatalf("%d is no coin", coin)
			}
			sum += coin
		}
		if sum != amount || len(coins) > max(limit, cashu.SplitCount(amount)) {
			t.Fatalf("%d in %v", amount, coins)
		}
	})
	if n := len(spread(1_000_000, nil, spreadIssue)); n != spreadIssue {
		t.Errorf("a million lies in %d coins", n)
	}
	if got := fmt.Sprint(spread(2, nil, 4)); got != "[1 1]" {
		t.Errorf("2 is spread as %s", got)
	}
	// What is there already is not made again.
	have := map[cashu.Units]int{512: 4, 256: 4, 128: 4}
	if got := fmt.Sprint(spread(1024, have, 12)); got != "[1024]" {
		t.Errorf("1024 is spread as %s", got)
	}
}

// BenchmarkSubmission does all that one client process asks of its wallet:
// open, look for what is unfinished, prepare, complete, close.
func BenchmarkSubmission(b *testing.B) {
	m := newTestMint(b, 0, 1)
	dir := b.TempDir()
	w := open(b, dir)
	if err := w.Use(b.Context(), m.url()); err != nil {
		b.Fatal(err)
	}
	issue(b, w, m, "first", 1<<31)
	for b.Loop() {
		one, err := Open(b.Context(), Config{Dir: dir, Mint: overHTTP})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := one.Unfinished(b.Context()); err != nil {
			b.Fatal(err)
		}
		p := job(b, one, m, 1000)
		var signatures []cashu.BlindSignature
		b.StopTimer()
		for _, o := range p.Outputs {
			signature, err := m.ring.Sign(o.ID, o.Amount, o.B_)
			if err != nil {
				b.Fatal(err)
			}
			signatures = append(signatures, signature)
		}
		b.StartTimer()
		if err := one.CompleteAs(b.Context(), p.ID, 1, signatures); err != nil {
			b.Fatal(err)
		}
		if err := one.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
