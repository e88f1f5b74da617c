package machine

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// A snapshot is a line naming the format, the single values, then each table's records in order,
// and the SHA-256 of all that at the end. The same state has the same bytes on every replica.
const (
	snapshotMagic    = "coinop snapshot 1\n"
	snapshotItemMax  = 16 << 20
	snapshotEnd      = 0
	snapshotMetaMark = 255
)

var errSnapshot = errors.New("it is damaged or not a snapshot")

// dumper writes items, each with its length, and hashes what it writes. The first error stays; the writer keeps its own.
type dumper struct {
	out  *bufio.Writer // into both of the next two
	to   io.Writer
	hash hash.Hash
	size [binary.MaxVarintLen64]byte
	body bytes.Buffer // of the item that is being written
	err  error
}

func dumperTo(w io.Writer) *dumper {
	d := &dumper{to: w, hash: sha256.New()}
	d.out = bufio.NewWriterSize(io.MultiWriter(d.hash, w), 1<<16)
	return d
}

func (d *dumper) write(p []byte) { _, _ = d.out.Write(p) }

func (d *dumper) number(n int) { d.write(binary.AppendUvarint(d.size[:0], uint64(n))) }

// item writes what a pointer points to: to hand over a value would copy it once more.
func (d *dumper) item(pointer any) {
	d.body.Reset()
	if err := encoder.MarshalToBuffer(pointer, &d.body); d.err == nil && err != nil {
		d.err = err
	}
	d.number(d.body.Len())
	d.write(d.body.Bytes())
}

// end writes the hash of all that was written.
func (d *dumper) end() error {
	if err := d.out.Flush(); d.err == nil {
		d.err = err
	}
	if d.err == nil {
		_, d.err = d.to.Write(d.hash.Sum(nil))
	}
	return d.err
}

// dumpRows writes a table: its number, how many records, then key and value of each.
func dumpRows[K, V any](d *dumper, number uint8, r rows[K, V]) {
	d.write([]byte{number})
	d.number(r.len())
	var one pair[K, V]
	r.tree.Scan(func(p pair[K, V]) bool {
		one = p
		d.item(&one.key)
		d.item(&one.value)
		return d.err == nil
	})
}

// Snapshot writes a view. It holds up nobody: the machine goes on while it is written.
func Snapshot(v *View, w io.Writer) error {
	d := dumperTo(w)
	d.write([]byte(snapshotMagic))
	d.write([]byte{snapshotMetaMark})
	d.item(&v.meta)
	for _, dump := range v.dumps {
		dump(d)
	}
	d.write([]byte{snapshotEnd})
	if err := d.end(); err != nil {
		return fmt.Errorf("write snapshot of entry %d: %w", v.meta.Index, err)
	}
	return nil
}

// loader reads what a dumper wrote.
type loader struct {
	in   *bufio.Reader
	hash hash.Hash
	one  [1]byte
	body bytes.Buffer
}

func newLoader(r io.Reader) *loader {
	return &loader{in: bufio.NewReaderSize(r, 1<<16), hash: sha256.New()}
}

// ReadByte is part of [io.ByteReader], for lengths.
func (l *loader) ReadByte() (byte, error) {
	b, err := l.in.ReadByte()
	if err == nil {
		l.one[0] = b
		l.hash.Write(l.one[:])
	}
	return b, err
}

// bytes are an item's, until the next one is read.
func (l *loader) bytes() ([]byte, error) {
	size, err := binary.ReadUvarint(l)
	if err != nil {
		return nil, err
	}
	if size > snapshotItemMax {
		return nil, fmt.Errorf("a record of %d bytes: %w", size, errSnapshot)
	}
	l.body.Reset()
	if _, err := io.CopyN(&l.body, l.in, int64(size)); err != nil {
		return nil, err
	}
	l.hash.Write(l.body.Bytes())
	return l.body.Bytes(), nil
}

// begin reads the first line and the single values. Those of a newer format may hold what is unknown here, so the format
// is looked at first.
func (l *loader) begin(m *meta) error {
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(l.in, magic); err != nil || string(magic) != snapshotMagic {
		return fmt.Errorf("its first line is not %q: %w", snapshotMagic[:len(snapshotMagic)-1], errSnapshot)
	}
	l.hash.Write(magic)
	if mark, err := l.ReadByte(); err != nil || mark != snapshotMetaMark {
		return errors.Join(errSnapshot, err)
	}
	body, err := l.bytes()
	var known struct {
		Format uint32 `cbor:"3,keyasint"`
	}
	if err == nil && cbor.Unmarshal(body, &known) == nil && known.Format > FormatMax {
		return newer(known.Format)
	}
	if err == nil {
		err = decoder.Unmarshal(body, m)
	}
	if err != nil {
		return fmt.Errorf("its single values: %w", err)
	}
	return nil
}

// Readable looks at a snapshot's beginning: the error is [ErrNewer] where a newer build has written it.
func Readable(r io.Reader) error {
	if err := newLoader(r).begin(new(meta)); err != nil {
		return fmt.Errorf("read a snapshot's beginning: %w", err)
	}
	return nil
}

func (t *table[K, V]) id() uint8 { return t.number }

// dumper is the table as it is now, to be written whenever there is time for it.
func (t *table[K, V]) dumper() func(*dumper) {
	frozen := t.freeze()
	return func(d *dumper) { dumpRows(d, t.number, frozen) }
}
