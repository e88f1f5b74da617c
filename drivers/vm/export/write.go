// Package export puts a suspended machine into one stream of bytes, and takes it out again without believing any of them.
package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Version is that of the form. A stream is the mark, and then in zstd: the head's length and the head; for each file its length, then
// pieces (offset, length, bytes; what lies between them is zeros) up to one of no length; a SHA-256 of all that.
const Version = 1

const (
	mark     = "coinop machine 1\n"
	headMax  = 8 << 20
	pieceMax = 256 << 10
	fileMax  = 1 << 46 // more than any file system of machines takes, and sums of it are numbers
)

// writer counts into the checksum what it writes.
type writer struct {
	to  *zstd.Encoder
	sum hash.Hash
}

func (w *writer) write(p []byte) error {
	w.sum.Write(p)
	_, err := w.to.Write(p)
	return err
}

func (w *writer) numbers(all ...int64) error {
	var b []byte
	for _, n := range all {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return w.write(b)
}

// Write writes a head of a few megabytes at most, and files, which must stay as they are for so long.
func Write(to io.Writer, head []byte, files ...*os.File) (err error) {
	if len(head) > headMax {
		return fmt.Errorf("a head of %d bytes, and %d is the most", len(head), headMax)
	}
	if _, err := io.WriteString(to, mark); err != nil {
		return err
	}
	zip, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, zip.Close()) }()
	w := &writer{to: zip, sum: sha256.New()}
	if err := errors.Join(w.numbers(int64(len(head))), w.write(head)); err != nil {
		return err
	}
	for _, file := range files {
		if err := w.file(file); err != nil {
			return err
		}
	}
	return w.write(w.sum.Sum(nil))
}

func (w *writer) file(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if size > fileMax {
		return fmt.Errorf("a file of %d bytes, and %d is the most", size, int64(fileMax))
	}
	if err := w.numbers(size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		from, to, err := next(file, at, size)
		if err != nil {
			return err
		}
		if err := w.pieces(file, from, to); err != nil {
			return err
		}
		at = to
	}
	return w.numbers(0, 0)
}

// next finds what is written of a file from a place on.
func next(file *os.File, at, size int64) (from, to int64, err error) {
	from, err = unix.Seek(int(file.Fd()), at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size, nil
	}
	if err == nil {
		to, err = unix.Seek(int(file.Fd()), from, unix.SEEK_HOLE)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("find the holes of a file: %w", err)
	}
	if from < at || to <= from {
		return 0, 0, errors.New("a file changes while it is written down")
	}
	return min(from, size), min(to, size), nil
}

func (w *writer) pieces(file *os.File, at, to int64) error {
	buffer, zeros := make([]byte, pieceMax), make([]byte, pieceMax)
	for at < to {
		piece := buffer[:min(pieceMax, to-at)]
		if _, err := file.ReadAt(piece, at); err != nil {
			return fmt.Errorf("read a machine's file: %w", err)
		}
		if !bytes.Equal(piece, zeros[:len(piece)]) {
			if err := errors.Join(w.numbers(at, int64(len(piece))), w.write(piece)); err != nil {
				return err
			}
		}
		at += int64(len(piece))
	}
	return nil
}
