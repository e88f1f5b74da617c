// Package disk looks into an image for the file system that a machine is to have as its root, and believes nothing that it reads.
package disk

import (
	"errors"
	"fmt"
	"io"
)

// Found is what an image is.
type Found struct {
	Format    string // for QEMU, which is never left to guess it
	Bytes     int64  // as the machine sees it
	Partition int    // 0: the root is all of it
	Kind      string // of the root's file system, as the kernel names it
}

// ErrNone is of a file that is no disk at all.
var ErrNone = errors.New("it is no disk")

const sector = 512

// Look finds the root. known says which file systems the machine's kernel has, by their names in it.
func Look(file io.ReaderAt, size int64, known func(kind string) bool) (Found, error) {
	found := Found{Format: "raw", Bytes: size}
	var contents io.ReaderAt = file
	head := make([]byte, qcow2Header)
	if n := read(file, head, 0); n == len(head) && string(head[:4]) == qcow2Mark {
		q, err := openQCOW2(file, head)
		if err == nil {
			err = q.whole(size)
		}
		if err != nil {
			return Found{}, err
		}
		found.Format, found.Bytes, contents = "qcow2", q.size, q
	}
	if found.Kind = fileSystem(contents, 0); found.Kind == "" {
		parts, err := partitions(contents)
		if err != nil {
			return Found{}, err
		}
		if len(parts) == 0 && found.Format == "raw" {
			return Found{}, fmt.Errorf("%w: neither qcow2 nor a file system, and it has no partitions", ErrNone)
		}
		var at partition
		at, found.Kind = root(contents, parts, known)
		switch found.Partition = at.number; {
		case found.Kind == "":
			return Found{}, fmt.Errorf("no file system was found on it, nor in its %d partitions: what is encrypted, or of logical volumes, is not opened here", len(parts))
		case at.from+at.bytes > found.Bytes:
			return Found{}, fmt.Errorf("its partition %d ends at byte %d, and it has %d: it is cut short, or its table is damaged", at.number, at.from+at.bytes, found.Bytes)
		}
	}
	if !known(found.Kind) {
		return Found{}, fmt.Errorf("its file system is %s, which the kernel of machines here has not built in", found.Kind)
	}
	return found, nil
}

// Alone refuses a file that is not qcow2, or that names another file beside the one that it is given for what was never written.
func Alone(file io.ReaderAt) error {
	head := make([]byte, qcow2Header)
	if n := read(file, head, 0); n < len(head) || string(head[:4]) != qcow2Mark {
		return ErrNone
	}
	_, err := openQCOW2(file, head)
	return err
}

// fileSystem names what begins at a place, as the kernel does.
func fileSystem(file io.ReaderAt, at int64) string {
	for _, mark := range []struct {
		at         int64
		text, kind string
	}{{0x438, "\x53\xef", "ext4"}, {0, "XFSB", "xfs"}, {0x10040, "_BHRfS_M", "btrfs"}, {0, "hsqs", "squashfs"}} {
		got := make([]byte, len(mark.text))
		if read(file, got, at+mark.at) == len(got) && string(got) == mark.text {
			return mark.kind
		}
	}
	return ""
}

// root chooses among partitions: the one that says so, or else the largest, for what else there is serves only to boot.
func root(file io.ReaderAt, parts []partition, known func(string) bool) (at partition, kind string) {
	best := int64(-1)
	for _, p := range parts {
		k := fileSystem(file, p.from)
		if k == "" {
			continue
		}
		rank := p.bytes
		if known(k) {
			rank += 1 << 60
		}
		if p.root {
			rank += 1 << 61
		}
		if rank > best {
			best, at, kind = rank, p, k
		}
	}
	return at, kind
}

// read fills what there is to be filled; what is not there is not missed, for who asks looks at how much came.
func read(file io.ReaderAt, to []byte, at int64) int {
	if at < 0 {
		return 0
	}
	n, _ := file.ReadAt(to, at) //nolint:errcheck // what cannot be read is not there
	return n
}
