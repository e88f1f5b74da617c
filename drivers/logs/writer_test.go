package logs

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// What a writer writes in pieces of any size, a reader finds: the first bytes, a stated gap, the last bytes.
func TestWhatIsWrittenIsRead(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for _, total := range []int{1, 999, 1000, 1001, 3000, 70_000, 400_000} {
		path := filepath.Join(t.TempDir(), "log")
		w := NewWriter(path, 1000, 2000)
		if _, err := os.Stat(path); err == nil {
			t.Fatal("a stream of which nothing was written has a file")
		}
		var all []byte
		for len(all) < total {
			piece := make([]byte, min(total-len(all), 1+dice.IntN(150_000)))
			for i := range piece {
				piece[i] = byte(dice.Uint32())
			}
			if _, err := w.Write(piece); err != nil {
				t.Fatal(err)
			}
			all = append(all, piece...)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var got []byte
		gap := int64(0)
		for at := int64(0); ; {
			chunk, err := Read(path, at, 777)
			if err != nil {
				t.Fatal(err)
			}
			if len(chunk.Data) == 0 {
				break
			}
			gap += chunk.Gap
			got, at = append(got, chunk.Data...), chunk.Next
		}
		want := all
		if total > 3000 {
			want = append(bytes.Clone(all[:1000]), all[total-2000:]...)
		}
		size, err := Size(path)
		if err != nil || !bytes.Equal(got, want) || gap != int64(max(0, total-3000)) || size != int64(total) {
			t.Errorf("of %d bytes %d come back, a gap of %d is told, and %d were counted, %v", total, len(got), gap, size, err)
		}
	}
}

func TestAFullDiskCostsTheLogOnly(t *testing.T) {
	w := NewWriter(filepath.Join(t.TempDir(), "nowhere", "log"), 0, 0)
	if n, err := w.Write([]byte("hello")); n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
