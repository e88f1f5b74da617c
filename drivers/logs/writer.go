package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/coinop/coinop/drivers"
)

// spareBytes is how much more a ring holds than is promised, and so the most that may be overwritten before the count says so.
const spareBytes = 64 << 10

// Writer writes a stream's log as readers expect it: for drivers whose tasks do not stand beside a shim. One goroutine at a
// time may use it.
type Writer struct {
	path string
	file *os.File // nil: nothing was written yet
	h    header
}

// NewWriter makes nothing yet: the file appears with the first byte. Its folder must be there by then. Zero means the defaults
// of package drivers.
func NewWriter(path string, head, tail int64) *Writer {
	if head == 0 {
		head = drivers.LogHeadBytesDefault
	}
	if tail == 0 {
		tail = drivers.LogTailBytesDefault
	}
	return &Writer{path: path, h: header{head: head, tail: tail, ring: tail + spareBytes}}
}

// Write never fails: a full disk costs the log, not the task. What could not be kept is counted.
func (w *Writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		piece := rest[:min(len(rest), spareBytes)]
		rest = rest[len(piece):]
		if w.h.dropped == 0 && w.put(piece) == nil {
			w.h.total += int64(len(piece))
		} else {
			w.h.dropped += int64(len(piece)) // what follows a gap would not be where it is looked for
		}
		_ = w.count() // a disk that does not take the count did not take the bytes
	}
	return len(p), nil
}

// Close gives the file back.
func (w *Writer) Close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

func (w *Writer) put(piece []byte) error {
	if w.file == nil {
		file, err := os.OpenFile(w.path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("make log: %w", err)
		}
		w.file = file
		if err := w.count(); err != nil { // a reader must never meet bytes without it
			return fmt.Errorf("begin log: %w", err)
		}
	}
	for at := w.h.total; len(piece) > 0; {
		place, room := headerBytes+at, w.h.head-at
		if room <= 0 {
			inRing := (at - w.h.head) % w.h.ring
			place, room = headerBytes+w.h.head+inRing, w.h.ring-inRing
		}
		n, err := w.file.WriteAt(piece[:min(int64(len(piece)), room)], place)
		if err != nil {
			return fmt.Errorf("write log: %w", err)
		}
		piece, at = piece[n:], at+int64(n)
	}
	return nil
}

func (w *Writer) count() error {
	if w.file == nil {
		return errors.New("there is no file")
	}
	head := make([]byte, 0, headerBytes)
	for _, n := range []int64{magic, version, w.h.head, w.h.tail, w.h.ring, w.h.total, w.h.dropped, 0} {
		head = binary.LittleEndian.AppendUint64(head, uint64(n))
	}
	_, err := w.file.WriteAt(head, 0)
	return err
}
