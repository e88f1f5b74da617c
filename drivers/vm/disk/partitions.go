package disk

import (
	"encoding/binary"
	"errors"
	"io"
)

// partition is a part of a disk, numbered as the kernel numbers it.
type partition struct {
	number      int
	from, bytes int64
	root        bool // its kind is that of a root of this architecture
}

// rootKind is "Linux root (x86-64)", as it is on disk.
const rootKind = "\xe3\xbc\x68\x4f\xcd\xe8\xb1\x4d\x96\xe7\xfb\xca\xf9\x84\xb7\x09"

const (
	tableAt      = 446
	protective   = 0xee
	entriesMax   = 1024
	entryMax     = 4096
	sectorsMax   = 1 << 50 // of a disk
	headerMark   = "EFI PART"
	headerSector = 1
)

// partitions reads a disk's table, of either kind. A disk that has none has no partitions.
func partitions(file io.ReaderAt) ([]partition, error) {
	first := make([]byte, sector)
	if read(file, first, 0) != sector || first[510] != 0x55 || first[511] != 0xaa {
		return nil, nil
	}
	var parts []partition
	for i := range 4 {
		entry := first[tableAt+16*i:]
		from, sectors := int64(binary.LittleEndian.Uint32(entry[8:])), int64(binary.LittleEndian.Uint32(entry[12:]))
		switch {
		case entry[4] == protective:
			return fromHeader(file)
		case entry[4] != 0 && sectors > 0:
			parts = append(parts, partition{number: i + 1, from: from * sector, bytes: sectors * sector})
		}
	}
	return parts, nil
}

func fromHeader(file io.ReaderAt) ([]partition, error) {
	header := make([]byte, 92)
	if read(file, header, headerSector*sector) != len(header) || string(header[:8]) != headerMark {
		return nil, errors.New("its table of partitions cannot be read: it is not one of sectors of 512 bytes")
	}
	le := binary.LittleEndian
	at, count, size := le.Uint64(header[72:]), le.Uint32(header[80:]), le.Uint32(header[84:])
	if at >= sectorsMax || count > entriesMax || size < 128 || size > entryMax {
		return nil, errors.New("its table of partitions is damaged")
	}
	var parts []partition
	entry := make([]byte, 128)
	for i := range int64(count) {
		if read(file, entry, int64(at)*sector+i*int64(size)) != len(entry) {
			break
		}
		from, last := le.Uint64(entry[32:]), le.Uint64(entry[40:])
		if string(entry[:16]) == string(make([]byte, 16)) || from >= sectorsMax || last >= sectorsMax || last < from {
			continue
		}
		parts = append(parts, partition{
			number: int(i) + 1, from: int64(from) * sector, bytes: int64(last-from+1) * sector, root: string(entry[:16]) == rootKind,
		})
	}
	return parts, nil
}
