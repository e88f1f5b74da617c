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

// dumper writes items, each with its length, and hashes what it writes. The first error stays.
type dumper struct {
	out  *bufio.Writer
	hash hash.Hash
	err  error
}

func (d *dumper) write(p []byte) {
	if d.err != nil {
		return
	}
	d.hash.Write(p)
	_, d.err = d.out.Write(p)
}

func (d *dumper) item(value any) {
	body, err := encoder.Marshal(value)
	if d.err == nil && err != nil {
		d.err = err
	}
	d.write(binary.AppendUvarint(nil, uint64(len(body))))
	d.write(body)
}

// dumpRows writes a table: its number, how many records, then key and value of each.
func dumpRows[K, V any](d *dumper, number uint8, r rows[K, V]) {
	d.write([]byte{number})
	d.write(binary.AppendUvarint(nil, uint64(r.len())))
	r.tree.Scan(func(p pair[K, V]) bool {
		d.item(p.key)
		d.item(p.value)
		return d.err == nil
	})
}

// Snapshot writes a view. It holds up nobody: the machine goes on while it is written.
func Snapshot(v *View, w io.Writer) error {
	d := &dumper{out: bufio.NewWriterSize(w, 1<<16), hash: sha256.New()}
	d.write([]byte(snapshotMagic))
	d.write([]byte{snapshotMetaMark})
	d.item(v.meta)
	for _, dump := range v.dumps {
		dump(d)
	}
	d.write([]byte{snapshotEnd})
	if d.err == nil {
		_, d.err = d.out.Write(d.hash.Sum(nil))
	}
	if d.err == nil {
		d.err = d.out.Flush()
	}
	if d.err != nil {
		return fmt.Errorf("write snapshot of entry %d: %w", v.meta.Index, d.err)
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

// ReadByte is part of [io.ByteReader], for lengths.
func (l *loader) ReadByte() (byte, error) {
	b, err := l.in.ReadByte()
	if err == nil {
		l.one[0] = b
		l.hash.Write(l.one[:])
	}
	return b, err
}

func (l *loader) item(into any) error {
	size, err := binary.ReadUvarint(l)
	if err != nil {
		return err
	}
	if size > snapshotItemMax {
		return fmt.Errorf("a record of %d bytes: %w", size, errSnapshot)
	}
	l.body.Reset()
	if _, err := io.CopyN(&l.body, l.in, int64(size)); err != nil {
		return err
	}
	l.hash.Write(l.body.Bytes())
	return decoder.Unmarshal(l.body.Bytes(), into)
}

// restore reads a table's records and rebuilds what is derived from them.
func (t *table[K, V]) restore(l *loader) error {
	count, err := binary.ReadUvarint(l)
	if err != nil {
		return err
	}
	var last K
	for i := uint64(0); i < count; i++ {
		var key K
		var value V
		if err := errors.Join(l.item(&key), l.item(&value)); err != nil {
			return err
		}
		if i > 0 && t.compare(last, key) >= 0 {
			return fmt.Errorf("records out of order: %w", errSnapshot)
		}
		t.load(key, value)
		last = key
	}
	return nil
}

func (t *table[K, V]) id() uint8 { return t.number }

// dumper is the table as it is now, to be written whenever there is time for it.
func (t *table[K, V]) dumper() func(*dumper) {
	frozen := t.freeze()
	return func(d *dumper) { dumpRows(d, t.number, frozen) }
}

// Restore reads a snapshot. Nothing of it is used unless all of it is there and its hash is right.
func Restore(r io.Reader) (*Machine, error) {
	s, err := readState(r)
	if err != nil {
		return nil, fmt.Errorf("restore snapshot: %w", err)
	}
	return &Machine{state: s}, nil
}

func readState(r io.Reader) (*state, error) {
	l := &loader{in: bufio.NewReaderSize(r, 1<<16), hash: sha256.New()}
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(l.in, magic); err != nil || string(magic) != snapshotMagic {
		return nil, fmt.Errorf("its first line is not %q: %w", snapshotMagic[:len(snapshotMagic)-1], errSnapshot)
	}
	l.hash.Write(magic)
	s := newState()
	if mark, err := l.ReadByte(); err != nil || mark != snapshotMetaMark {
		return nil, errors.Join(errSnapshot, err)
	}
	if err := l.item(&s.meta); err != nil {
		return nil, fmt.Errorf("its single values: %w", err)
	}
	for _, t := range s.tables() {
		if number, err := l.ReadByte(); err != nil || number != t.id() {
			return nil, fmt.Errorf("table %d: %w", t.id(), errors.Join(errSnapshot, err))
		}
		if err := t.restore(l); err != nil {
			return nil, fmt.Errorf("table %d: %w", t.id(), err)
		}
	}
	if mark, err := l.ReadByte(); err != nil || mark != snapshotEnd {
		return nil, errors.Join(errSnapshot, err)
	}
	want, got := l.hash.Sum(nil), make([]byte, sha256.Size)
	if _, err := io.ReadFull(l.in, got); err != nil || !bytes.Equal(got, want) {
		return nil, fmt.Errorf("its hash is not that of its content: %w", errSnapshot)
	}
	if _, err := l.in.ReadByte(); err != io.EOF {
		return nil, fmt.Errorf("something follows its end: %w", errSnapshot)
	}
	return s, nil
}
