// Package kernel takes the program out of the file that a kernel is shipped in: unpacked once outside it need not unpack itself in
// every machine, where that is slow.
package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	setupMax   = 64 << 10  // of a file, what comes before the packed program
	programMax = 512 << 20 // of a program
)

// Check says whether a file is a kernel at all, of the form that all x86 distributions ship.
func Check(file io.ReaderAt) error {
	_, err := setup(file)
	return err
}

func setup(file io.ReaderAt) ([]byte, error) {
	head := make([]byte, 0x260)
	if _, err := file.ReadAt(head, 0); err != nil || string(head[0x202:0x206]) != "HdrS" {
		return nil, errors.New("it is no kernel")
	}
	return head, nil
}

// Unpack writes a kernel's program.
func Unpack(to io.Writer, file io.ReaderAt) error {
	head, err := setup(file)
	if err != nil {
		return err
	}
	sectors := int64(head[0x1f1])
	if sectors == 0 {
		sectors = 4
	}
	from := (sectors+1)*512 + int64(binary.LittleEndian.Uint32(head[0x248:]))
	size := int64(binary.LittleEndian.Uint32(head[0x24c:]))
	if size <= 4 {
		return errors.New("it is of a kind that packs no program")
	}
	packed, err := unpacker(io.NewSectionReader(file, from, size-4)) // its last word is the program's size
	if err != nil {
		return err
	}
	defer packed.Close()
	n, err := io.Copy(to, io.LimitReader(packed, programMax))
	if err == nil && n == programMax {
		err = fmt.Errorf("it holds more than %d bytes", programMax)
	}
	return err
}

func unpacker(from io.ReadSeeker) (io.ReadCloser, error) {
	mark := make([]byte, 4)
	if _, err := io.ReadFull(from, mark); err != nil {
		return nil, err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(mark, []byte("\x1f\x8b")):
		return gzip.NewReader(from)
	case bytes.Equal(mark, []byte("\x28\xb5\x2f\xfd")):
		r, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return r.IOReadCloser(), nil
	case bytes.Equal(mark, []byte("\x02\x21\x4c\x18")):
		return io.NopCloser(lz4.NewReader(from)), nil
	}
	return nil, fmt.Errorf("its program is packed in a way that is not known here (% x)", mark)
}

// Entered says whether a program can be started as the first thing that a machine does: it says where, by a note that Xen defined.
func Entered(path string) error {
	const name, kind = "Xen\x00", 18
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	program, err := elf.NewFile(file)
	if err != nil {
		return err
	}
	for _, p := range program.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		notes, err := io.ReadAll(io.LimitReader(p.Open(), setupMax))
		if err != nil {
			return err
		}
		for len(notes) >= 12 {
			names, words := int64(program.ByteOrder.Uint32(notes)), int64(program.ByteOrder.Uint32(notes[4:]))
			next := 12 + (names+3)&^3 + (words+3)&^3
			if next > int64(len(notes)) {
				break
			}
			if program.ByteOrder.Uint32(notes[8:]) == kind && names == int64(len(name)) && string(notes[12:12+len(name)]) == name {
				return nil
			}
			notes = notes[next:]
		}
	}
	return errors.New("the kernel was built without CONFIG_PVH")
}
