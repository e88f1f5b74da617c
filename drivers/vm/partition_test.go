//go:build e2e

package vm_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/vm"
)

// A disk with partitions, packed by QEMU, as distributions publish theirs, is a machine's too.
func TestADiskWithPartitions(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("it needs qemu-img: apt-get install --no-install-recommends qemu-utils")
	}
	h := newHarness(t, vm.Config{Local: true})
	dir := containertest.Yard(t)
	part, whole, packed := filepath.Join(dir, "part"), filepath.Join(dir, "whole"), filepath.Join(dir, "packed")
	const sectors, from = 16 << 20 / 512, 2048
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	containertest.MakeRoot(t, root)
	if out, err := exec.Command("mkfs.ext4", "-q", "-d", root, part, "16M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	disk := make([]byte, from*512, from*512+len(data))
	disk[510], disk[511], disk[446+16+4] = 0x55, 0xaa, 0x83 // the second of four
	binary.LittleEndian.PutUint32(disk[446+16+8:], from)
	binary.LittleEndian.PutUint32(disk[446+16+12:], sectors)
	if err := os.WriteFile(whole, append(disk, data...), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("qemu-img", "convert", "-c", "-O", "qcow2", whole, packed).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(packed, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{whole, packed} {
		task := newTask(t, h, "parted", "echo up; grep ' / ' /proc/mounts | cut -d' ' -f1")
		task.Image = image
		st, said := run(t, h.Driver(), task)
		if st.Exit.Code != 0 || said != "up\n/dev/vda2\n" {
			t.Errorf("%s: it ended as %+v and said %q", image, st, said)
		}
		if err := h.Driver().Remove(t.Context(), task.ID); err != nil {
			t.Error(err)
		}
	}
}
