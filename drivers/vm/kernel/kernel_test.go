package kernel_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/coinop/coinop/drivers/vm/kernel"
)

// file is a kernel's as far as what is packed in it goes.
func file(packed []byte) []byte {
	head := make([]byte, 5*512)
	head[0x1f1] = 4
	copy(head[0x202:], "HdrS")
	binary.LittleEndian.PutUint32(head[0x248:], 100)
	binary.LittleEndian.PutUint32(head[0x24c:], uint32(len(packed)+4))
	return append(append(append(head, make([]byte, 100)...), packed...), 1, 2, 3, 4)
}

var program = []byte(strings.Repeat("what is said once, ", 1000) + "and what is not")

func packings(t *testing.T) map[string][]byte {
	t.Helper()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	// lz4: one literal, which is repeated, over and over; then its end.
	block := []byte{0x1f, 'a', 1, 0, 255, 10, 0x30, 'e', 'n', 'd'}
	l := binary.LittleEndian.AppendUint32([]byte("\x02\x21\x4c\x18"), uint32(len(block)))
	return map[string][]byte{"gzip": zipped.Bytes(), "zstd": z.EncodeAll(program, nil), "lz4": append(l, block...)}
}

func TestAProgramIsTakenOut(t *testing.T) {
	for name, packed := range packings(t) {
		want := program
		if name == "lz4" {
			want = []byte(strings.Repeat("a", 1+15+255+10+4) + "end")
		}
		var got bytes.Buffer
		if err := kernel.Unpack(&got, bytes.NewReader(file(packed))); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: %.50q, %v", name, got.Bytes(), err)
		}
		if err := kernel.Unpack(&got, bytes.NewReader(file(packed[:len(packed)-5]))); err == nil {
			t.Errorf("%s: a piece that is not there is not missed", name)
		}
	}
	for name, data := range map[string][]byte{"nothing": nil, "no kernel": make([]byte, 5000), "packed by nobody": file([]byte("what is this"))} {
		if err := kernel.Unpack(&bytes.Buffer{}, bytes.NewReader(data)); err == nil {
			t.Errorf("%s is taken for a kernel", name)
		}
	}
}

// What is in the kernel that machines have in tests can be started by itself.
func TestTheKernelOfTests(t *testing.T) {
	found, err := filepath.Glob("../../../bin/kernel/boot/vmlinuz-*")
	if err != nil || len(found) == 0 {
		t.Skip("no kernel: scripts/kernel unpacks one")
	}
	f, err := os.Open(found[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	path := filepath.Join(t.TempDir(), "program")
	to, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := kernel.Unpack(to, f); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if err := kernel.Entered(path); err != nil {
		t.Error(err)
	}
	if busybox, err := exec.LookPath("busybox"); err == nil {
		if err := kernel.Entered(busybox); err == nil {
			t.Error("any program is taken for a kernel's")
		}
	}
}
