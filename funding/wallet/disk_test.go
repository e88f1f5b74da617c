package wallet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/funding/cashu"
)

// inUse is a wallet's folder as a command leaves it: with coins, a payment that waits for its change and one that is open.
func inUse(t *testing.T) (dir string, w *Wallet, m *testMint) {
	t.Helper()
	m = newTestMint(t, 100, 1)
	dir = t.TempDir()
	first := open(t, dir)
	if err := first.Use(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	issue(t, first, m, "first", 5000)
	mustSubmit(t, first, m, job(t, first, m, 300))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	w = open(t, dir) // what it does lies in the log alone
	mustSubmit(t, w, m, job(t, w, m, 200))
	job(t, w, m, 100)
	return dir, w, m
}

// copied is a copy of a folder without its locks: whoever held them is gone.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{fileName, fileName + "-wal", commitsName} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // a wallet that was closed has no log
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// picture is what a wallet says it has, and would send.
func picture(t *testing.T, dir string, m *testMint) (lines []string, err error) {
	tomorrow := time.Now().Add(24 * time.Hour) // when the whole file is checked again
	w, err := Open(t.Context(), Config{Dir: dir, Mint: overHTTP, Now: func() time.Time { return tomorrow }})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	say("%s %x", w.Words(), w.seed)
	balances, err := w.Balances(t.Context())
	if err != nil {
		return nil, err
	}
	say("%+v", balances)
	secrets, err := column(t.Context(), w.file, `SELECT secret FROM coins ORDER BY secret`)
	if err != nil {
		return nil, err
	}
	for _, secret := range secrets {
		coin, err := readCoin(w.file, secret)
		if err != nil {
			return nil, err
		}
		say("%+v %+v", coin.Bare(), *coin.DLEQ)
	}
	mint, err := mintOf(t.Context(), w.file, m.url())
	if err != nil {
		return nil, err
	}
	sets, err := keysetsOf(t.Context(), w.file, mint)
	if err != nil {
		return nil, err
	}
	say("%+v", sets)
	waiting, err := w.waitingAt(t.Context(), mint)
	if err != nil {
		return nil, err
	}
	say("%+v", waiting)
	open, err := w.Unfinished(t.Context())
	if err != nil {
		return nil, err
	}
	say("%+v", open)
	p, err := w.Prepare(t.Context(), jobOrder(m, 400), buildJob(400))
	if err != nil {
		return nil, err
	}
	outputs, err := w.outputsOf(t.Context(), w.file, p.ID, true)
	say("%+v", outputs) // the next counters
	return lines, err
}

// spoiled fails unless a damaged folder says what the whole one says, or names the damage and what to do.
func spoiled(t *testing.T, what, dir string, m *testMint, whole []string) (found bool) {
	t.Helper()
	got, err := picture(t, dir, m)
	switch {
	case err != nil && Advice(err, dir) == "":
		t.Errorf("%s: no advice about %v", what, err)
	case err != nil:
		if text := Advice(err, dir); !strings.Contains(text, filepath.Join(dir, fileName)) || !strings.Contains(text, "is damaged") {
			t.Errorf("%s: the advice is %q", what, text)
		}
		return true
	case !slices.Equal(got, whole):
		t.Errorf("%s: it says something else, and no word of damage", what)
		for i := range min(len(got), len(whole)) {
			if got[i] != whole[i] {
				t.Fatalf("%.300s\nand it was\n%.300s", got[i], whole[i])
			}
		}
	}
	return false
}

func TestADamagedWalletIsNamedAndSpendsNothingWrong(t *testing.T) {
	dir, w, m := inUse(t)
	t.Run("log", func(t *testing.T) { spoilEach(t, dir, fileName+"-wal", m) })
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("file", func(t *testing.T) { spoilEach(t, dir, fileName, m) })
}

// spoilEach spoils a file of a wallet's folder in many ways, one at a time.
func spoilEach(t *testing.T, dir, name string, m *testMint) {
	whole, err := picture(t, copied(t, dir), m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	flips, found := 30, 0
	if text := os.Getenv("COINOP_FLIPS"); text != "" {
		if flips, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for i := range flips {
		at := (i*len(b)/flips + i*37) % len(b)
		bad := slices.Clone(b)
		bad[at] ^= 1 << (i % 8)
		to := copied(t, dir)
		if err := os.WriteFile(filepath.Join(to, name), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if spoiled(t, fmt.Sprintf("bit %d of byte %d", i%8, at), to, m, whole) {
			found++
		}
	}
	t.Logf("%d of %d flips were found; the others changed nothing that is asked for", found, flips)
	if found < flips/6 {
		t.Errorf("only %d of %d flips were found", found, flips)
	}
	for _, size := range []int{0, 1, 33, 4096, len(b) / 2, len(b) - 4096} {
		to := copied(t, dir)
		if err := os.Truncate(filepath.Join(to, name), int64(size)); err != nil {
			t.Fatal(err)
		}
		if !spoiled(t, fmt.Sprintf("cut to %d bytes", size), to, m, whole) && size < len(b)-4096 {
			t.Errorf("cut to %d bytes: not found", size)
		}
	}
	to := copied(t, dir)
	if err := os.Remove(filepath.Join(to, name)); err != nil {
		t.Fatal(err)
	}
	if name == fileName { // then there is no wallet, and a new one is begun
		if err := os.WriteFile(filepath.Join(to, fileName+"-wal"), b[:4096], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !spoiled(t, "without it", to, m, whole) {
		t.Error("its absence was not found")
	}
}

func TestTheWordsAreReadFromADamagedWallet(t *testing.T) {
	dir, w, m := inUse(t)
	to := copied(t, dir)
	if err := os.Truncate(filepath.Join(to, fileName+"-wal"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: to, Mint: overHTTP}); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	words, err := ReadWords(to)
	if err != nil || words != w.Words() {
		t.Fatalf("%q, %v", words, err)
	}
	again, err := Open(t.Context(), Config{Dir: t.TempDir(), Mint: overHTTP, Words: words})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.Restore(t.Context(), m.url()); err != nil {
		t.Fatal(err)
	}
	// The open payment was never sent: its coins come back too.
	b, back := balance(t, w, m), balance(t, again, m)
	if back.Free != b.Free+b.Reserved {
		t.Errorf("%d came back of %+v", back.Free, b)
	}
	if err := os.WriteFile(filepath.Join(to, fileName), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if words, err := ReadWords(to); err == nil {
		t.Errorf("words were found in nothing: %q", words)
	}
}

// Whoever opens a wallet while others change it finds no damage, and a number beside it that is behind or unreadable is none.
func TestASoundWalletIsNotCalledDamaged(t *testing.T) {
	dir, _, m := inUse(t)
	whole, err := picture(t, copied(t, dir), m)
	if err != nil {
		t.Fatal(err)
	}
	for _, noted := range []string{"", "00000000000000000001 83dcefb7\n", "garbage", "99999999999999999999 00000000\n"} {
		to := copied(t, dir)
		if err := os.WriteFile(filepath.Join(to, commitsName), []byte(noted), 0o600); err != nil {
			t.Fatal(err)
		}
		if spoiled(t, fmt.Sprintf("%q", noted), to, m, whole) {
			t.Errorf("with %q beside it a sound wallet is refused", noted)
		}
	}
}

// With other sums every wallet that there is would be called damaged.
func TestSealsStayAsTheyAre(t *testing.T) {
	if got := seal(cashu.KeysetID("a coin"), int64(-7), []byte{0, 2}, []byte(nil)); got != 1547851293 {
		t.Errorf("the seal is %d", got)
	}
}

// Each change waits for the disk. What is checked at a start must not add one, but for the day's first.
func TestAStartChangesNothingAndASubmissionTwice(t *testing.T) {
	m := newTestMint(t, 100, 1)
	now := time.Now()
	config := Config{Dir: t.TempDir(), Mint: overHTTP, Now: func() time.Time { return now }}
	changes := func(command func(w *Wallet)) int64 {
		w, err := Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		command(w)
		n, err := w.commitsNoted()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	look := func(w *Wallet) {
		if _, err := w.Balances(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := changes(look); n != 0 {
		t.Errorf("a new wallet is changed %d times by being opened", n)
	}
	before := changes(func(w *Wallet) {
		if err := w.Use(t.Context(), m.url()); err != nil {
			t.Fatal(err)
		}
		issue(t, w, m, "first", 5000)
	})
	if n := changes(look); n != before {
		t.Errorf("the second start of the day made %d changes", n-before)
	}
	if n := changes(func(w *Wallet) { mustSubmit(t, w, m, job(t, w, m, 300)) }); n != before+2 {
		t.Errorf("a submission made %d changes, want 2", n-before)
	}
	now = now.Add(24 * time.Hour)
	for range 2 {
		if n := changes(look); n != before+3 {
			t.Errorf("a start of the next day: %d changes since, want 1 by the first and none by the second", n-before-2)
		}
	}
}
