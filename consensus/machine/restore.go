package machine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Restore reads a snapshot. Nothing of it is used unless all of it is there and its hash is right.
func Restore(r io.Reader) (*Machine, error) {
	restorer, err := NewRestorer(r)
	if err != nil {
		return nil, err
	}
	for {
		p, err := restorer.Next()
		if err != nil {
			return nil, err
		}
		if p == nil {
			return restorer.Machine(), nil
		}
		p.Decode()
		if err := restorer.Load(p); err != nil {
			return nil, err
		}
	}
}

// Restorer reads a snapshot in parts. Two thirds of the work are decoding them, which needs nothing else: who has
// several cores calls Next, Decode and Load from goroutines of their own.
type Restorer struct {
	in     *loader
	tables []anyTable // from the one that is read on
	begun  bool       // its number and count have been read
	left   uint64     // records of it that have not been read

	state *state
}

// NewRestorer reads a snapshot's beginning: the error is [ErrNewer] where a newer build has written it.
func NewRestorer(r io.Reader) (*Restorer, error) {
	s := newState()
	restorer := &Restorer{in: newLoader(r), state: s, tables: s.tables()}
	if err := restorer.in.begin(&s.meta); err != nil {
		return nil, fmt.Errorf("restore snapshot: %w", err)
	}
	return restorer, nil
}

// Part is some records of one table.
type Part struct {
	table anyTable
	raw   []byte // keys and values, each with its length
	n     int
	load  func() error
}

const (
	partRecords = 512
	partBytes   = 1 << 20
)

// Decode reads the records.
func (p *Part) Decode() { p.load, p.raw = p.table.decode(p.raw, p.n), nil }

// Next reads the next part. There is none at the end, where it checks the hash over all.
func (r *Restorer) Next() (*Part, error) {
	for len(r.tables) > 0 {
		t := r.tables[0]
		p, err := r.part(t)
		if err != nil {
			return nil, fmt.Errorf("restore snapshot: table %d: %w", t.id(), err)
		}
		if p.n > 0 {
			return p, nil
		}
		r.tables, r.begun = r.tables[1:], false
	}
	if err := r.in.end(); err != nil {
		return nil, fmt.Errorf("restore snapshot: %w", err)
	}
	return nil, nil //nolint:nilnil // nothing is wrong, and nothing is left
}

// part reads more records of a table; none at its end.
func (r *Restorer) part(t anyTable) (_ *Part, err error) {
	if !r.begun {
		if number, err := r.in.ReadByte(); err != nil || number != t.id() {
			return nil, errors.Join(errSnapshot, err)
		}
		if r.left, err = binary.ReadUvarint(r.in); err != nil {
			return nil, err
		}
		r.begun = true
	}
	p := &Part{table: t}
	for ; r.left > 0 && p.n < partRecords && len(p.raw) < partBytes; r.left-- {
		for range 2 {
			item, err := r.in.bytes()
			if err != nil {
				return nil, err
			}
			p.raw = append(binary.AppendUvarint(p.raw, uint64(len(item))), item...)
		}
		p.n++
	}
	return p, nil
}

// Load puts a decoded part into the state, and rebuilds what is derived from it. Parts come in Next's order.
func (r *Restorer) Load(p *Part) error {
	if err := p.load(); err != nil {
		return fmt.Errorf("restore snapshot: table %d: %w", p.table.id(), err)
	}
	return nil
}

// Machine is the restored one, after Next has come to the end and all parts are loaded.
func (r *Restorer) Machine() *Machine { return &Machine{state: r.state} }

// decode reads n records; what it returns puts them into the table.
func (t *table[K, V]) decode(raw []byte, n int) (load func() error) {
	keys, values := make([]K, n), make([]V, n)
	item := func(into any) error {
		size, head := binary.Uvarint(raw)
		body := raw[head : head+int(size)]
		raw = raw[head+int(size):]
		return decoder.Unmarshal(body, into)
	}
	for i := range keys {
		if err := errors.Join(item(&keys[i]), item(&values[i])); err != nil {
			return func() error { return err }
		}
	}
	return func() error {
		ordered := true
		t.ascend(keys[0], func(K, V) bool {
			ordered = false // a record of an earlier part
			return false
		})
		for i, key := range keys {
			if ordered = ordered && (i == 0 || t.compare(keys[i-1], key) < 0); !ordered {
				return fmt.Errorf("records out of order: %w", errSnapshot)
			}
			t.load(key, values[i])
		}
		return nil
	}
}

// end checks that the hash is right and nothing follows it.
func (l *loader) end() error {
	if mark, err := l.ReadByte(); err != nil || mark != snapshotEnd {
		return errors.Join(errSnapshot, err)
	}
	want, got := l.hash.Sum(nil), make([]byte, sha256.Size)
	if _, err := io.ReadFull(l.in, got); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("its hash is not that of its content: %w", errSnapshot)
	}
	if _, err := l.in.ReadByte(); err != io.EOF {
		return fmt.Errorf("something follows its end: %w", errSnapshot)
	}
	return nil
}
