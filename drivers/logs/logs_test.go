package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// writer writes a log as the shim does.
type writer struct {
	file       *os.File
	head, tail int64
	total      int64
}

const chunkMax = 64 << 10

func newWriter(path string, head, tail int64) (*writer, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	w := &writer{file: file, head: head, tail: tail}
	return w, w.header()
}

func (w *writer) header() error {
	var raw []byte
	for _, n := range []int64{magic, version, w.head, w.tail, w.tail + chunkMax, w.total, 0, 0} {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(n))
	}
	_, err := w.file.WriteAt(raw, 0)
	return err
}

func (w *writer) write(p []byte) error {
	for _, b := range p {
		place := w.total
		if place >= w.head {
			place = w.head + (w.total-w.head)%(w.tail+chunkMax)
		}
		if _, err := w.file.WriteAt([]byte{b}, headerBytes+place); err != nil {
			return err
		}
		w.total++
	}
	return w.header()
}

// Whatever was written and wherever one starts to read: every byte read is the one written at that offset, what is skipped is
// told, and nothing is skipped that the limits keep.
func TestReadsWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		head, tail := rapid.Int64Range(0, 50).Draw(t, "head"), rapid.Int64Range(0, 60).Draw(t, "tail")
		path := filepath.Join(dir, "log")
		w, err := newWriter(path, head, tail)
		if err != nil {
			t.Fatal(err)
		}
		defer w.file.Close()
		var all []byte
		for range rapid.IntRange(0, 4).Draw(t, "writes") {
			p := rapid.SliceOfN(rapid.Byte(), 0, 90).Draw(t, "bytes")
			all = append(all, p...)
			if err := w.write(p); err != nil {
				t.Fatal(err)
			}
		}
		from := rapid.Int64Range(-100, 400).Draw(t, "from")
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		at := from
		if at < 0 {
			at = max(0, int64(len(all))+from)
		}
		for {
			c, err := Read(path, at, limit)
			if err != nil {
				t.Fatal(err)
			}
			if c.Gap != c.Offset-at || c.Next != c.Offset+int64(len(c.Data)) || c.Total != int64(len(all)) || len(c.Data) > limit {
				t.Fatalf("chunk %+v from %d", c, at)
			}
			if len(c.Data) > 0 && !bytes.Equal(c.Data, all[c.Offset:c.Next]) {
				t.Fatalf("at %d: %q, want %q", c.Offset, c.Data, all[c.Offset:c.Next])
			}
			if c.Gap > 0 && c.Offset != min(int64(len(all)), max(head, int64(len(all))-tail)) {
				t.Fatalf("from %d it skipped to %d of %d", at, c.Offset, len(all))
			}
			if len(c.Data) == 0 {
				if c.Next < int64(len(all)) {
					t.Fatalf("it stopped at %d of %d", c.Next, len(all))
				}
				return
			}
			at = c.Next
		}
	})
}

func TestNoFileIsAnEmptyLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	if c, err := Read(path, 5, 10); err != nil || c.Next != 5 || len(c.Data) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if n, err := Size(path); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestForeignFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, 0, 10); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
}
