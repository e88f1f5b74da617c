package disk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers/vm/disk"
)

const size = 8 << 20

// part is a partition of a test's disk, in sectors.
type part struct {
	from, sectors int
	system        string // the mark of a file system, and where
	at            int
	root          bool
}

var (
	ext  = part{system: "\x53\xef", at: 0x438}
	xfs  = part{system: "XFSB"}
	none = part{}
)

func (p part) where(from, sectors int) part {
	p.from, p.sectors = from, sectors
	return p
}

func (p part) asRoot() part {
	p.root = true
	return p
}

func plain(p part) []byte {
	d := make([]byte, size)
	copy(d[p.from*512+p.at:], p.system)
	return d
}

func mbr(parts ...part) []byte {
	d := make([]byte, size)
	d[510], d[511] = 0x55, 0xaa
	for i, p := range parts {
		entry := d[446+16*i:]
		entry[4] = 0x83
		binary.LittleEndian.PutUint32(entry[8:], uint32(p.from))
		binary.LittleEndian.PutUint32(entry[12:], uint32(p.sectors))
		copy(d[p.from*512+p.at:], p.system)
	}
	return d
}

// gpt leaves the first number free: what counts is the place in the table, and not how many there are.
func gpt(parts ...part) []byte {
	d := make([]byte, size)
	d[510], d[511], d[446+4], d[446+12] = 0x55, 0xaa, 0xee, 1
	le, header := binary.LittleEndian, d[512:]
	copy(header, "EFI PART")
	le.PutUint64(header[72:], 2)
	le.PutUint32(header[80:], 128)
	le.PutUint32(header[84:], 128)
	for i, p := range parts {
		entry := d[1024+128*(i+1):]
		copy(entry, "some kind of it.")
		if p.root {
			copy(entry, "\xe3\xbc\x68\x4f\xcd\xe8\xb1\x4d\x96\xe7\xfb\xca\xf9\x84\xb7\x09")
		}
		le.PutUint64(entry[32:], uint64(p.from))
		le.PutUint64(entry[40:], uint64(p.from+p.sectors-1))
		copy(d[p.from*512+p.at:], p.system)
	}
	return d
}

func known(kind string) bool { return kind == "ext4" }

var disks = []struct {
	what      string
	contents  []byte
	partition int
	want      string // of the error
}{
	{"a file system", plain(ext), 0, ""},
	{"one that the kernel has not", plain(xfs), 0, "xfs, which the kernel"},
	{"noise", bytes.Repeat([]byte("noise"), 10000), 0, "no disk"},
	{"the second of two old partitions", mbr(none.where(2048, 100), ext.where(4096, 100)), 2, ""},
	{"the larger of two", mbr(ext.where(2048, 100), ext.where(4096, 1000)), 2, ""},
	{"the one that says that it is", gpt(none.where(2048, 50), ext.where(2100, 100).asRoot(), ext.where(4096, 9000)), 3, ""},
	{"a root that the kernel has not", gpt(ext.where(2048, 50), xfs.where(4096, 100).asRoot()), 0, "xfs, which the kernel"},
	{"what holds none", gpt(none.where(2048, 50)), 0, "nor in its 1 partitions"},
	{"a table of nothing", gpt(), 0, "no disk"},
	{"a root that is cut short", gpt(none.where(2048, 50), ext.where(2100, 14285).asRoot()), 0, "partition 3 ends at byte 8389120"},
}

func TestTheRootIsFound(t *testing.T) {
	for _, c := range disks {
		t.Run(c.what, func(t *testing.T) {
			check(t, bytes.NewReader(c.contents), int64(len(c.contents)), "raw", c.partition, c.want)
		})
	}
}

func check(t *testing.T, file *bytes.Reader, bytes int64, format string, partition int, want string) {
	t.Helper()
	found, err := disk.Look(file, file.Size(), known)
	switch {
	case want != "":
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v: want a word of %q", found, err, want)
		}
	case err != nil, found != disk.Found{Format: format, Bytes: bytes, Partition: partition, Kind: "ext4"}:
		t.Errorf("%+v, %v: want number %d of %d bytes", found, err, partition, bytes)
	}
	if errors.Is(err, disk.ErrNone) != (want == "no disk") {
		t.Errorf("%v: whether it is a disk at all", err)
	}
}

// The same in QEMU's form, as QEMU's own program writes it.
func TestTheRootIsFoundInQCOW2(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("it needs qemu-img: apt-get install --no-install-recommends qemu-utils")
	}
	from, to := filepath.Join(t.TempDir(), "raw"), filepath.Join(t.TempDir(), "qcow2")
	for _, c := range disks {
		if c.what == "noise" || c.what == "a table of nothing" { // QEMU's form says that it is a disk
			c.want = "no file system was found"
		}
		contents := c.contents[:len(c.contents)&^511]
		if err := os.WriteFile(from, contents, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, options := range [][]string{nil, {"-c"}, {"-c", "-o", "compression_type=zstd"}, {"-o", "compat=0.10,cluster_size=512"}, {"-o", "cluster_size=2M"}} {
			t.Run(c.what+" "+strings.Join(options, " "), func(t *testing.T) {
				args := append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, options...), from, to)
				if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				data, err := os.ReadFile(to)
				if err != nil {
					t.Fatal(err)
				}
				check(t, bytes.NewReader(data), int64(len(contents)), "qcow2", c.partition, c.want)
			})
		}
	}
}

// A file that was not copied to its end is refused wherever it was cut: QEMU would take zeros for what is missing.
func TestACutQCOW2IsRefused(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("it needs qemu-img: apt-get install --no-install-recommends qemu-utils")
	}
	from, to := filepath.Join(t.TempDir(), "raw"), filepath.Join(t.TempDir(), "qcow2")
	contents := plain(ext)
	for i := 1 << 20; i < len(contents); i++ {
		contents[i] = byte(i * i >> 9)
	}
	if err := os.WriteFile(from, contents, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, options := range [][]string{nil, {"-c"}} {
		args := append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, options...), from, to)
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		data, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		check(t, bytes.NewReader(data), size, "qcow2", 0, "")
		for _, bytesLeft := range []int{len(data) - 64<<10, len(data) / 2, 200 << 10, 64 << 10} {
			check(t, bytes.NewReader(data[:bytesLeft]), size, "qcow2", 0, "cut short")
		}
	}
}

func FuzzLook(f *testing.F) {
	f.Add(gpt(ext.where(2048, 50))[:4<<10])
	f.Add(mbr(ext.where(3, 50))[:4<<10])
	f.Add(append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, 200)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := disk.Look(bytes.NewReader(data), int64(len(data)), known)
		if err == nil && (found.Bytes < 0 || found.Partition < 0 || found.Partition > 1024) {
			t.Errorf("%+v", found)
		}
	})
}
