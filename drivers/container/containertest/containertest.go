// Package containertest makes what tests of containers need: an image of one program, and a place for tasks.
package containertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
)

// Busybox is the name of the only image.
const Busybox = "busybox"

// Need skips a test on a machine that lacks what containers need.
func Need(t testing.TB, runtimes ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	for _, program := range append([]string{"busybox"}, runtimes...) {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not there: apt-get install --no-install-recommends busybox-static crun runc", program)
		}
	}
	if out, err := exec.Command("ldd", "/bin/busybox").CombinedOutput(); err == nil {
		t.Skipf("busybox is not the static one: %s", out)
	}
}

// Store has one image, whose only layer is this folder.
type Store string

// MakeRoot makes that folder: a file system of busybox alone.
func MakeRoot(t testing.TB, dir string) {
	t.Helper()
	if err := root(dir); err != nil {
		t.Fatal(err)
	}
}

// Hold implements container.Images.
func (s Store) Hold(_ context.Context, ref, _ string) (container.Image, error) {
	if ref != Busybox {
		return container.Image{}, fmt.Errorf("%w: there is no image %q", drivers.ErrInvalid, ref)
	}
	return container.Image{Layers: []string{string(s)}}, nil
}

// Drop implements container.Images.
func (s Store) Drop(string) error { return nil }

// Yard is a folder in which tasks of any user may lie.
func Yard(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "coinop-container-test-") // those of t.TempDir are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TaskFolder makes a folder for one task in a yard.
func TaskFolder(yard string) (string, error) {
	dir, err := os.MkdirTemp(yard, "task-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}

func root(dir string) error {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	for _, folder := range []string{"bin", "usr/bin", "etc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return err
		}
	}
	for _, folder := range []string{"", "tmp"} {
		mode := map[string]os.FileMode{"": 0o755, "tmp": 0o777 | os.ModeSticky}[folder]
		if err := os.Chmod(filepath.Join(dir, folder), mode); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "busybox"), program, 0o755); err != nil { //nolint:gosec // a program for all
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "etc", "passwd"), []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644); err != nil { //nolint:gosec // as usual
		return err
	}
	out, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(out)) {
		if name == "busybox" {
			continue
		}
		for _, folder := range []string{"bin", "usr/bin"} {
			if err := os.Symlink("/bin/busybox", filepath.Join(dir, folder, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
