package vm_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/vm"
	"github.com/coinop/coinop/drivers/vm/vmtest"
)

// Where something is missing or broken the driver says what, and how to get it; it does not fail.
func TestWhatIsMissingIsSaid(t *testing.T) {
	kernel := vmtest.Need(t)
	notes := filepath.Join(t.TempDir(), "vmlinuz-notes")
	if err := os.WriteFile(notes, make([]byte, 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	lonely := filepath.Join(t.TempDir(), "vmlinuz-0.0-none")
	if err := os.Link(kernel, lonely); err != nil {
		t.Skipf("no second name for a kernel: %v", err)
	}
	for _, c := range []struct {
		what, want string
		config     vm.Config
	}{
		{"no QEMU", "qemu-system-x86", vm.Config{Kernel: kernel, QEMU: "no-such-qemu"}},
		{"a broken QEMU", "does not work", vm.Config{Kernel: kernel, QEMU: "/bin/false"}},
		{"no kernel", "--vm-kernel", vm.Config{}},
		{"a kernel that is not there", "linux-image-cloud", vm.Config{Kernel: "/nowhere/vmlinuz-1"}},
		{"a file that is no kernel", "no kernel", vm.Config{Kernel: notes}},
		{"a kernel without modules", "lib/modules/0.0-none", vm.Config{Kernel: lonely}},
	} {
		c.config.Dir, c.config.Program, c.config.Images = filepath.Join(t.TempDir(), "driver"), self(t), containertest.Store("/")
		l := living(t, c.config)
		if err := l.Begin(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		if _, err := l.Driver.Describe(t.Context()); !errors.Is(err, drivers.ErrUnsupported) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a word of %q", c.what, err, c.want)
		}
		_, err := l.Driver.Start(t.Context(), drivers.Task{ID: "x", Dir: "/tmp/x", WorkDir: "/tmp", Argv: []string{"true"}, Image: "x", UID: 1, GID: 1})
		if !errors.Is(err, drivers.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: a task is started with %v", c.what, err)
		}
		l.End()
	}
}

// A file that is no disk, or one that would name others of this machine, is refused before anything runs.
func TestFilesThatAreNoDisks(t *testing.T) {
	h := newHarness(t, vm.Config{Local: true})
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("it needs qemu-img: apt-get install --no-install-recommends qemu-utils")
	}
	for _, args := range [][]string{
		{"create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", path("backed"), "1M"},
		{"create", "-q", "-f", "qcow2", "-o", "data_file=" + path("data"), path("split"), "1M"},
	} {
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := errors.Join(os.WriteFile(path("noise"), []byte(strings.Repeat("noise", 10000)), 0o644), os.WriteFile(path("empty"), nil, 0o644),
		os.WriteFile(path("short"), []byte("QFI\xfb"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"backed": "names another file", "split": "names another file", "noise": "no disk", "empty": "no disk", "short": "no disk", "nowhere": "no such file",
	} {
		folder, err := h.Folder()
		if err != nil {
			t.Fatal(err)
		}
		task := drivers.Task{ID: "no-disk", Dir: filepath.Join(folder, "driver"), WorkDir: folder, UID: h.UID, GID: h.GID, Image: path(name), Argv: []string{"true"}}
		if _, err := h.Driver().Start(t.Context(), task); !errors.Is(err, drivers.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a word of %q", name, err, want)
		}
		if entries, err := os.ReadDir(task.Dir); err == nil && len(entries) > 0 {
			t.Errorf("%s left %s", name, entries[0].Name())
		}
	}
}

// The empty overlay that is written here is one to qemu-img, too.
func TestAnEmptyOverlay(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("it needs qemu-img: apt-get install --no-install-recommends qemu-utils")
	}
	for _, size := range []int64{1 << 20, 64<<30 + 1<<20, 5 << 40} {
		path := filepath.Join(t.TempDir(), "overlay")
		if err := os.WriteFile(path, vm.EmptyOverlay(size), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("qemu-img", "check", "-f", "qcow2", path).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "No errors") {
			t.Errorf("%d bytes: %v: %s", size, err, out)
		}
	}
}
