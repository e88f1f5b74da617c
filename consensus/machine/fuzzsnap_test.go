package machine

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRestore: what is restored is saved again as the same bytes. Each input is also tried with a hash that fits, since the
// hash would keep the fuzzer from all that lies behind it.
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
		tries := [][]byte{data}
		if n := len(data) - sha256.Size; n > 0 {
			sum := sha256.Sum256(data[:n])
			tries = append(tries, append(bytes.Clone(data[:n]), sum[:]...))
		}
		for _, data := range tries {
			m, err := Restore(bytes.NewReader(data))
			if err != nil {
				if m != nil {
					t.Fatalf("both a machine and %v", err)
				}
				continue
			}
			var again bytes.Buffer
			if err := Snapshot(m.View(), &again); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again.Bytes(), data) {
				t.Fatalf("%d bytes were restored and are saved as %d others", len(data), again.Len())
			}
		}
	})
}
