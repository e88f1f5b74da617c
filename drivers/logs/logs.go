// Package logs reads what a task wrote, while it grows and after: the first bytes, a stated gap, the last bytes.
package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// The layout of shim/c/log.c.
const (
	magic       = 0x676f6c706f6f63
	version     = 1
	headerBytes = 64
)

// ErrCorrupt: the file is not a task's log.
var ErrCorrupt = errors.New("not a log of a task")

// Chunk is a piece of a stream. Offsets count all bytes the task ever wrote to it.
type Chunk struct {
	Offset int64 // of Data; above the offset asked for if there is a gap
	Gap    int64 // bytes between the offset asked for and Offset, which are no longer kept
	Data   []byte
	Next   int64 // to ask for next
	Total  int64 // bytes in the stream so far
}

type header struct {
	head, tail, ring, total, dropped int64
}

func readHeader(file io.ReaderAt) (header, error) {
	var raw [headerBytes]byte
	if _, err := file.ReadAt(raw[:], 0); errors.Is(err, io.EOF) {
		return header{}, nil // made a moment ago
	} else if err != nil {
		return header{}, err
	}
	number := func(i int) int64 { return int64(binary.LittleEndian.Uint64(raw[8*i:])) }
	h := header{head: number(2), tail: number(3), ring: number(4), total: number(5), dropped: number(6)}
	if number(0) != magic || number(1) != version || h.head < 0 || h.tail < 0 || h.ring <= h.tail || h.total < 0 || h.dropped < 0 {
		return header{}, ErrCorrupt
	}
	return h, nil
}

// Size is how much was written to the stream, kept or not. A stream without a file is empty.
func Size(path string) (int64, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("size of log: %w", err)
	}
	defer file.Close()
	h, err := readHeader(file)
	if err != nil {
		return 0, fmt.Errorf("size of log %s: %w", path, err)
	}
	return h.total + h.dropped, nil
}

// Read returns up to limit bytes from offset on; none if there are none yet. A negative offset counts from the end.
func Read(path string, offset int64, limit int) (Chunk, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Chunk{Offset: max(offset, 0), Next: max(offset, 0)}, nil
	}
	if err != nil {
		return Chunk{}, fmt.Errorf("read log: %w", err)
	}
	defer file.Close()
	for { // again only if the task overwrote meanwhile what was read
		chunk, whole, err := readOnce(file, offset, limit)
		if err != nil {
			return Chunk{}, fmt.Errorf("read log %s: %w", path, err)
		}
		if whole {
			return chunk, nil
		}
	}
}

func readOnce(file *os.File, offset int64, limit int) (chunk Chunk, whole bool, err error) {
	h, err := readHeader(file)
	if err != nil {
		return Chunk{}, false, err
	}
	asked := offset
	if asked < 0 {
		asked = max(0, h.total+offset)
	}
	at := asked
	if at >= h.head {
		at = max(at, h.oldest())
	}
	at = min(at, max(h.total, asked))
	n := min(int64(limit), max(0, h.total-at))
	place := headerBytes + at
	if at < h.head {
		n = min(n, h.head-at)
	} else if h.ring > 0 {
		inRing := (at - h.head) % h.ring
		n = min(n, h.ring-inRing)
		place = headerBytes + h.head + inRing
	}
	data := make([]byte, n)
	if _, err := file.ReadAt(data, place); err != nil {
		return Chunk{}, false, err
	}
	after, err := readHeader(file)
	if err != nil {
		return Chunk{}, false, err
	}
	whole = n == 0 || at < h.head || at >= after.total-h.tail
	return Chunk{Offset: at, Gap: at - asked, Data: data, Next: at + n, Total: h.total}, whole, nil
}

// oldest is the first byte still kept behind the head.
func (h header) oldest() int64 { return max(h.head, h.total-h.tail) }
