package wallet

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func FuzzRefusal(f *testing.F) {
	f.Add(400, []byte(`{"code":11001,"detail":"spent"}`))
	f.Add(502, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		err := refusal(status, body)
		if err == nil || (IsRefusal(err) && (status < 400 || status > 499)) {
			t.Fatalf("%d %q: %v", status, body, err)
		}
	})
}

func FuzzUnpackKeys(f *testing.F) {
	f.Add(bytes.Repeat([]byte{2}, packedKey))
	f.Fuzz(func(t *testing.T, packed []byte) {
		keys, err := unpackKeys(packed)
		if err == nil && !bytes.Equal(packKeys(keys), packed) {
			t.Fatal("what was read is written otherwise")
		}
	})
}

// FuzzCommits: the number of changes is read as it was noted, or says nothing.
func FuzzCommits(f *testing.F) {
	w := &Wallet{}
	var err error
	if w.commits, err = os.OpenFile(filepath.Join(f.TempDir(), commitsName), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = w.commits.Close() })
	for _, n := range []int64{0, 17, 1<<63 - 1, -1} {
		if err := w.noteCommits(n); err != nil {
			f.Fatal(err)
		}
		text, err := os.ReadFile(w.commits.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(text[:len(text)-2])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(w.commits.Name(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := w.commitsNoted()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.noteCommits(n + 1); err != nil {
			t.Fatal(err)
		}
		if again, err := w.commitsNoted(); err != nil || again != n+1 {
			t.Fatalf("%d was noted and %d read behind %q: %v", n+1, again, text, err)
		}
	})
}

// FuzzSeal: a row in which one byte is another has another seal, wherever it stands.
func FuzzSeal(f *testing.F) {
	f.Add("secret", []byte{2, 3}, int64(64), uint(0), byte(1))
	f.Fuzz(func(t *testing.T, secret string, c []byte, amount int64, at uint, turn byte) {
		whole := seal(secret, amount, c)
		row := append([]byte(secret), c...)
		if len(row) == 0 || turn == 0 {
			return
		}
		row[at%uint(len(row))] ^= turn
		if seal(string(row[:len(secret)]), amount, row[len(secret):]) == whole {
			t.Fatalf("%q, %x and %d has the seal of %x", secret, c, amount, row)
		}
	})
}
