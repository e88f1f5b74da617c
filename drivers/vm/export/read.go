package export

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// windowMax is more than Write asks for of who reads; a stream could ask for gigabytes.
const windowMax = 8 << 20

// Reader takes a stream apart. It is used by one goroutine.
type Reader struct {
	Head []byte
	from *zstd.Decoder
	sum  hash.Hash
}

// Target is a file that is empty yet.
type Target interface {
	io.WriterAt
	Truncate(size int64) error
}

var errBroken = errors.New("it is not a machine as it was exported, or not all of it")

// NewReader reads the head. Nothing that it or Reader.File gave may be used before Close found all of it right.
func NewReader(from io.Reader) (*Reader, error) {
	begin := make([]byte, len(mark))
	if _, err := io.ReadFull(from, begin); err != nil || string(begin) != mark {
		return nil, errBroken
	}
	unzip, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(windowMax))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	r := &Reader{from: unzip, sum: sha256.New()}
	n, err := r.number(headMax)
	if err == nil {
		r.Head = make([]byte, n)
		err = r.read(r.Head)
	}
	if err != nil {
		unzip.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reader) read(p []byte) error {
	if _, err := io.ReadFull(r.from, p); err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	r.sum.Write(p)
	return nil
}

func (r *Reader) number(most int64) (int64, error) {
	var b [8]byte
	if err := r.read(b[:]); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(b[:])
	if n > uint64(most) {
		return 0, fmt.Errorf("%w: %d where %d is the most", errBroken, n, most)
	}
	return int64(n), nil
}

// TooLarge is a file that has more in it than it may.
type TooLarge struct{ Most int64 }

func (e *TooLarge) Error() string {
	return fmt.Sprintf("there is more in it than the %d bytes that it may take", e.Most)
}

// File fills the next file, with so many bytes at most beside its holes.
func (r *Reader) File(to Target, most int64) error {
	size, err := r.number(fileMax)
	if err != nil {
		return err
	}
	if err := to.Truncate(size); err != nil {
		return err
	}
	buffer := make([]byte, pieceMax)
	for end, left := int64(0), most; ; {
		at, err := r.number(fileMax)
		if err != nil {
			return err
		}
		n, err := r.number(pieceMax)
		if err != nil || n == 0 && at == 0 {
			return err
		}
		if n == 0 || at < end || at+n > size {
			return fmt.Errorf("%w: %d bytes at %d of %d", errBroken, n, at, size)
		}
		if left -= n; left < 0 {
			return &TooLarge{most}
		}
		if err := r.read(buffer[:n]); err != nil {
			return err
		}
		if _, err := to.WriteAt(buffer[:n], at); err != nil {
			return err
		}
		end = at + n
	}
}

// Close says whether all that came was as it had been written, and that nothing more comes.
func (r *Reader) Close() error {
	defer r.from.Close()
	want := r.sum.Sum(nil)
	got := make([]byte, len(want)+1)
	n, err := io.ReadFull(r.from, got)
	if !errors.Is(err, io.ErrUnexpectedEOF) || n != len(want) || string(got[:n]) != string(want) {
		return errBroken
	}
	return nil
}

// Drop ends the reading of what is not wanted.
func (r *Reader) Drop() { r.from.Close() }
