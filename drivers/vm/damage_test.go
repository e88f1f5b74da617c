//go:build e2e

package vm_test

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/vm"
)

const blockBytes = 4096

// fileSystem makes one of what is in a folder.
func fileSystem(t *testing.T, path, root string, more ...string) {
	t.Helper()
	args := append([]string{"-q", "-F", "-b", strconv.Itoa(blockBytes), "-d", root}, more...)
	if out, err := exec.Command("mkfs.ext4", append(args, path, "16M")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
}

// blank overwrites what begins at the block that debugfs tells, with zeros.
func blank(t *testing.T, path, question, before string) {
	t.Helper()
	out, err := exec.Command("debugfs", "-R", question, path).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, told, _ := strings.Cut(string(out), before)
	first, err := strconv.Atoi(strings.Trim(strings.Fields(told + " none")[0], ","))
	if err != nil {
		t.Fatalf("%s: %s", question, out)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(make([]byte, 4*blockBytes), int64(first)*blockBytes)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// An image that is damaged behind what can be looked at from outside never begins: the reason is the kernel's, and it costs nothing.
func TestDamagedImagesNeverBegin(t *testing.T) {
	if _, err := exec.LookPath("debugfs"); err != nil {
		t.Skip("it needs debugfs: apt-get install --no-install-recommends e2fsprogs")
	}
	h := newHarness(t, vm.Config{Local: true})
	dir := containertest.Yard(t)
	root, nothing, image := filepath.Join(dir, "root"), filepath.Join(dir, "nothing"), filepath.Join(dir, "image")
	if err := errors.Join(os.Mkdir(root, 0o755), os.Mkdir(nothing, 0o755)); err != nil {
		t.Fatal(err)
	}
	containertest.MakeRoot(t, root)
	for _, c := range []struct {
		what, want string
		code       int
		make       func()
	}{
		{"the table of its files is empty", "mount the image: invalid argument: EXT4-fs error", 126, func() {
			fileSystem(t, image, root)
			blank(t, image, "stats", "inode table at ")
		}},
		{"its journal is empty", "journal", 126, func() {
			fileSystem(t, image, root)
			blank(t, image, "blocks <8>", "")
		}},
		{"its kernel gives up over it", "Kernel panic - not syncing: EXT4-fs", 126, func() {
			fileSystem(t, image, root, "-e", "panic")
			blank(t, image, "stats", "inode table at ")
		}},
		{"it is cut short", "mount the image: invalid argument: EXT4-fs (vda): bad geometry", 126, func() {
			fileSystem(t, image, root)
			if err := os.Truncate(image, 8<<20); err != nil {
				t.Fatal(err)
			}
		}},
		{"there is nothing in it", "execute /bin/sh: no such file or directory", 127, func() { fileSystem(t, image, nothing) }},
	} {
		c.make()
		task := newTask(t, h, "damaged", "echo up")
		task.Image = image
		st, said := run(t, h.Driver(), task)
		if st.Exit.Cause != drivers.CauseStartFailed || st.Exit.Code != c.code || !strings.Contains(st.Exit.Message, c.want) || strings.Contains(said, "up\n") {
			t.Errorf("%s: it ended as %+v and said %q", c.what, st.Exit, said)
		}
		t.Logf("%s: %s", c.what, st.Exit.Message)
		if err := h.Driver().Remove(t.Context(), task.ID); err != nil {
			t.Error(err)
		}
	}
}

// What is cut short and shows it is refused before anything runs.
func TestImagesThatAreCutShort(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("it needs qemu-img: apt-get install --no-install-recommends qemu-utils")
	}
	h := newHarness(t, vm.Config{Local: true})
	dir := containertest.Yard(t)
	root, part, packed, table := filepath.Join(dir, "root"), filepath.Join(dir, "part"), filepath.Join(dir, "packed"), filepath.Join(dir, "table")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	containertest.MakeRoot(t, root)
	fileSystem(t, part, root)
	if out, err := exec.Command("qemu-img", "convert", "-O", "qcow2", part, packed).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := errors.Join(os.Truncate(packed, 1<<20), os.Chmod(packed, 0o644)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 1<<20)
	head[510], head[511], head[446+4] = 0x55, 0xaa, 0x83
	binary.LittleEndian.PutUint32(head[446+8:], 2048)
	binary.LittleEndian.PutUint32(head[446+12:], 1<<20)
	if err := os.WriteFile(table, append(head, data...), 0o644); err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]string{packed: "cut short", table: "partition 1 ends at byte"} {
		task := newTask(t, h, "short", "echo up")
		task.Image = image
		if _, err := h.Driver().Start(t.Context(), task); !errors.Is(err, drivers.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a word of %q", filepath.Base(image), err, want)
		}
	}
}
