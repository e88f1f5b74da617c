package guest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
)

// EntryType is what stands in a work folder. There is no other.
type EntryType uint32

const (
	Folder EntryType = iota + 1
	Plain
	Link
)

// Entry is one of a work folder, before its contents.
type Entry struct {
	Type  EntryType
	Mode  uint32
	Bytes int64
	Path  string // below the work folder
	Says  string // a link
}

const (
	entryBytes = 16
	pathMax    = 4096
)

// Encode returns it as it is sent.
func (e Entry) Encode() []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(e.Bytes))
	out = binary.LittleEndian.AppendUint32(out, uint32(e.Type))
	out = binary.LittleEndian.AppendUint32(out, e.Mode)
	return append(append(append(append(out, e.Path...), 0), e.Says...), 0)
}

// DecodeEntry reads what a machine says, and refuses what does not lie below the work folder.
func DecodeEntry(data []byte) (Entry, error) {
	if len(data) < entryBytes {
		return Entry{}, fmt.Errorf("an entry of %d bytes", len(data))
	}
	le := binary.LittleEndian
	e := Entry{Bytes: int64(le.Uint64(data)), Type: EntryType(le.Uint32(data[8:])), Mode: le.Uint32(data[12:]) & 0o777}
	path, rest, found := bytes.Cut(data[entryBytes:], []byte{0})
	says, _, ended := bytes.Cut(rest, []byte{0})
	e.Path, e.Says = string(path), string(says)
	switch {
	case !found || !ended, e.Type < Folder || e.Type > Link, e.Bytes < 0, len(path) >= pathMax, len(says) >= pathMax:
		return Entry{}, fmt.Errorf("an entry that is none: %.100q", data)
	case !filepath.IsLocal(e.Path) || filepath.Clean(e.Path) != e.Path || e.Path == ".":
		return Entry{}, fmt.Errorf("an entry that is not below the work folder: %.100q", e.Path)
	}
	return e, nil
}
