package disk

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	qcow2Mark   = "QFI\xfb"
	qcow2Header = 105
	offsetBits  = 0x00fffffffffffe00

	corrupt      = 1 << 1
	externalData = 1 << 2
	extendedL2   = 1 << 4
)

// qcow2 reads the contents of an image, as far as that is needed to find its root.
type qcow2 struct {
	file    io.ReaderAt
	size    int64
	bits    uint // of an offset in a cluster
	table   int64
	entries int64
	zstd    bool
}

// openQCOW2 refuses what names other files, since these could be any of this machine, and what nobody here could look into.
func openQCOW2(file io.ReaderAt, head []byte) (*qcow2, error) {
	be := binary.BigEndian
	q := &qcow2{
		file: file, bits: uint(be.Uint32(head[20:])), size: int64(be.Uint64(head[24:]) &^ (1 << 63)),
		entries: int64(be.Uint32(head[36:])), table: int64(be.Uint64(head[40:]) & offsetBits),
	}
	version, features := be.Uint32(head[4:]), uint64(0)
	if version >= 3 {
		features = be.Uint64(head[72:])
		q.zstd = be.Uint32(head[100:]) > 104 && head[104] == 1
	}
	switch {
	case be.Uint64(head[8:]) != 0 || features&externalData != 0:
		return nil, errors.New("it names another file, and what that is nobody may choose from outside: qemu-img convert makes one of both")
	case version < 2 || version > 3 || q.bits < 9 || q.bits > 21 || features&corrupt != 0:
		return nil, errors.New("it is qcow2, and damaged: qemu-img check says more")
	case be.Uint32(head[32:]) != 0 || features&extendedL2 != 0:
		return nil, errors.New("it is qcow2 with encryption or extended entries, which are not looked into here: qemu-img convert -O qcow2 makes one without")
	}
	return q, nil
}

// errShort is of a file that was not copied to its end: QEMU would take zeros for what is missing.
var errShort = errors.New("it is qcow2, and cut short: what it holds lies behind its end; qemu-img check says more")

// whole says whether all that the image holds lies in its file.
func (q *qcow2) whole(size int64) error {
	if q.table < 0 || q.table > size || q.entries > (size-q.table)/8 {
		return errShort
	}
	second := make([]byte, 1<<q.bits)
	for i, left := int64(0), size; i < q.entries; i++ {
		at := int64(q.entry(q.table+8*i) & offsetBits)
		if at == 0 {
			continue
		}
		if left -= int64(len(second)); left < 0 { // one table that is there many times
			return errors.New("it is qcow2, and damaged: qemu-img check says more")
		}
		if read(q.file, second, at) != len(second) {
			return errShort
		}
		for entries := second; len(entries) > 0; entries = entries[8:] {
			if q.begins(binary.BigEndian.Uint64(entries)) >= size {
				return errShort
			}
		}
	}
	return nil
}

// begins is where in the file a cluster does; 0 of one that is not there.
func (q *qcow2) begins(entry uint64) int64 {
	switch {
	case entry&(1<<62) != 0:
		return int64(entry & (1<<(62-(q.bits-8)) - 1))
	case entry&1 != 0:
		return 0
	}
	return int64(entry & offsetBits)
}

// ReadAt implements io.ReaderAt. What was never written is zeros.
func (q *qcow2) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		if at < 0 || at >= q.size {
			return n, io.EOF
		}
		within := at & (1<<q.bits - 1)
		piece := p[n:min(len(p), n+int(1<<q.bits-within))]
		if err := q.cluster(piece, at>>q.bits, within); err != nil {
			return n, err
		}
		n, at = n+len(piece), at+int64(len(piece))
	}
	return n, nil
}

// cluster reads a part of one.
func (q *qcow2) cluster(p []byte, number, within int64) error {
	clear(p)
	if number>>(q.bits-3) >= q.entries {
		return nil
	}
	second := q.entry(q.table + number>>(q.bits-3)*8)
	if second &= offsetBits; second == 0 {
		return nil
	}
	entry := q.entry(int64(second) + number&(1<<(q.bits-3)-1)*8)
	if entry&(1<<62) != 0 {
		return q.packed(p, entry, within)
	}
	if entry&1 == 0 && entry&offsetBits != 0 {
		read(q.file, p, int64(entry&offsetBits)+within)
	}
	return nil
}

func (q *qcow2) entry(at int64) uint64 {
	var word [8]byte
	read(q.file, word[:], at)
	return binary.BigEndian.Uint64(word[:])
}

func (q *qcow2) packed(p []byte, entry uint64, within int64) error {
	bits := 62 - (q.bits - 8)
	from := int64(entry & (1<<bits - 1))
	sectors := int64(entry>>bits) & (1<<(q.bits-8) - 1)
	packed := make([]byte, (sectors+1)*sector-from%sector)
	packed = packed[:read(q.file, packed, from)]
	whole := make([]byte, 1<<q.bits)
	var r io.Reader = flate.NewReader(bytes.NewReader(packed))
	if q.zstd {
		z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	if _, err := io.ReadFull(r, whole); err != nil {
		return err
	}
	copy(p, whole[within:])
	return nil
}
