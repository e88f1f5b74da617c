package image

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/container/image/source"
)

// A layer that names a folder only in a path does not change the folder.
func TestFoldersKeepWhatLowerLayersGaveThem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to mount an overlay")
	}
	w := newWorld(t)
	s := openStore(t, Config{})
	img := ensure(t, s, w.push("app:1", imageOf(t, layerOf(t, "tmp/", "tmp/low=1", "etc/", "var/tmp/", "gone/tmp/"), layerOf(t, "tmp/x=1", "etc/y=2"), layerOf(t, "gone/.wh..wh..opq=", "gone/tmp/z=1"), layerOf(t, "tmp/deep/z=3"))))
	if len(img.Layers) != 5 {
		t.Fatalf("layers %q", contents(t, img))
	}
	at := t.TempDir()
	options := []string{}
	for i := len(img.Layers) - 1; i >= 0; i-- {
		options = append(options, img.Layers[i])
	}
	if err := unix.Mount("overlay", at, "overlay", 0, "lowerdir="+strings.Join(options, ":")); err != nil {
		t.Skip("cannot mount an overlay:", err)
	}
	defer func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	for name, want := range map[string]fs.FileMode{"tmp": fs.ModeDir | fs.ModeSticky | 0o777, "etc": fs.ModeDir | 0o755, "tmp/deep": fs.ModeDir | 0o755, "gone/tmp": fs.ModeDir | 0o755, "var/tmp": fs.ModeDir | fs.ModeSticky | 0o777} {
		info, err := os.Stat(filepath.Join(at, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s is %s, want %s", name, info.Mode(), want)
		}
	}
	for _, name := range []string{"tmp/low", "tmp/x", "etc/y", "tmp/deep/z", "gone/tmp/z"} {
		if _, err := os.Stat(filepath.Join(at, name)); err != nil {
			t.Error(err)
		}
	}
	var all sync.WaitGroup // whoever of several makes it, each gets it
	fresh := openStore(t, Config{})
	for range 8 {
		all.Go(func() {
			if got, err := fresh.Ensure(t.Context(), w.ref("app:1"), source.Auth{}, nil); err != nil || len(got.Layers) != 5 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	all.Wait()
	if len(ensure(t, s, w.push("app:2", imageOf(t, layerOf(t, "etc/"), layerOf(t, "etc/y=2")))).Layers) != 2 {
		t.Error("a folder above the layers that changes nothing")
	}
}
