package machine

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRestore: a snapshot whose hash is right is saved again as the same bytes. Each input is also tried with a hash that is made
// to fit, since the hash would keep the fuzzer from all that lies behind it: such a one may say things in a longer form than
// Snapshot has for them, so it is what was saved of it that is restored and saved as the same bytes.
func FuzzRestore(f *testing.F) {
	files, err := filepath.Glob("testdata/golden/*.snapshot")
	if err != nil || len(files) == 0 {
		f.Fatal("there are no golden snapshots", err)
	}
	for _, file := range files[:min(len(files), 12)] {
		saved, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(saved)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		saved := resaved(t, data)
		if saved != nil && !bytes.Equal(saved, data) {
			t.Fatalf("%d bytes were restored and are saved as %d others", len(data), len(saved))
		}
		if n := len(data) - sha256.Size; n > 0 {
			sum := sha256.Sum256(data[:n])
			saved = resaved(t, append(bytes.Clone(data[:n]), sum[:]...))
		}
		if saved != nil && !bytes.Equal(resaved(t, saved), saved) {
			t.Fatalf("%d bytes were saved, and are others after they were restored", len(saved))
		}
	})
}

// resaved is a snapshot as it is saved after it was restored; nil where it can't be.
func resaved(t *testing.T, data []byte) []byte {
	t.Helper()
	m, err := Restore(bytes.NewReader(data))
	if err != nil {
		if m != nil {
			t.Fatalf("both a machine and %v", err)
		}
		return nil
	}
	var again bytes.Buffer
	if err := Snapshot(m.View(), &again); err != nil {
		t.Fatal(err)
	}
	return again.Bytes()
}
