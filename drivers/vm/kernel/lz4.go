package kernel

import (
	"encoding/binary"
	"errors"
	"io"
)

// Sizes of the form that kernels use: blocks that know nothing of each other.
const (
	lz4Mark      = 0x184c2102
	lz4Block     = 8 << 20
	lz4PackedMax = lz4Block + lz4Block/255 + 16
)

var errLZ4 = errors.New("its program is packed by lz4, and damaged")

// lz4 unpacks lz4's first form, which kernels kept and libraries mostly did not.
type lz4 struct {
	from io.Reader
	out  []byte
	at   int
}

func (l *lz4) Close() error { return nil }

func (l *lz4) Read(p []byte) (int, error) {
	for l.at == len(l.out) {
		if err := l.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.out[l.at:])
	l.at += n
	return n, nil
}

// block unpacks the next one.
func (l *lz4) block() error {
	var word [4]byte
	n := uint32(lz4Mark) // which may stand before any block, and stands before the first
	for n == lz4Mark {
		if _, err := io.ReadFull(l.from, word[:]); err != nil {
			return err // the end is one
		}
		n = binary.LittleEndian.Uint32(word[:])
	}
	if n > lz4PackedMax {
		return errLZ4
	}
	if l.out == nil {
		l.out = make([]byte, 0, lz4Block)
	}
	packed := make([]byte, n)
	if _, err := io.ReadFull(l.from, packed); err != nil {
		return errLZ4
	}
	var err error
	l.out, err = lz4Unpack(l.out[:0], packed)
	l.at = 0
	return err
}

// lz4Unpack appends a block's contents to out, as far as that has room.
func lz4Unpack(out, in []byte) ([]byte, error) {
	for len(in) > 0 {
		token := in[0]
		literals, in2, ok := lz4Length(int(token>>4), in[1:])
		if !ok || literals > len(in2) || literals > cap(out)-len(out) {
			return nil, errLZ4
		}
		out, in = append(out, in2[:literals]...), in2[literals:]
		if len(in) == 0 {
			return out, nil // the last has literals alone
		}
		if len(in) < 2 {
			return nil, errLZ4
		}
		back := int(in[0]) | int(in[1])<<8
		same, in3, ok := lz4Length(int(token&15), in[2:])
		same += 4
		if !ok || back == 0 || back > len(out) || same > cap(out)-len(out) {
			return nil, errLZ4
		}
		for in = in3; same > 0; { // what is repeated may overlap what it makes
			n := min(same, back)
			out = append(out, out[len(out)-back:len(out)-back+n]...)
			same -= n
		}
	}
	return out, nil
}

// lz4Length goes on with a length that did not fit into four bits.
func lz4Length(n int, in []byte) (int, []byte, bool) {
	if n < 15 {
		return n, in, true
	}
	for i, b := range in {
		if n += int(b); b < 255 {
			return n, in[i+1:], true
		}
	}
	return 0, nil, false
}
