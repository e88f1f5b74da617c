package image

import (
	"archive/tar"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/container/image/source"
)

func layoutOf(t testing.TB, images ...v1.Image) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		if err := at.AppendImage(img); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// packed is a folder as an uncompressed tar beside it.
func packed(t testing.TB, dir string) string {
	t.Helper()
	file, err := os.Create(dir + ".tar")
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(file)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return dir + ".tar"
}

func saved(t testing.TB, images map[string]v1.Image) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "saved.tar")
	all := map[name.Tag]v1.Image{}
	for tag, img := range images {
		at, err := name.NewTag(tag)
		if err != nil {
			t.Fatal(err)
		}
		all[at] = img
	}
	if err := tarball.MultiWriteToFile(path, all); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFilesAndFolders(t *testing.T) {
	img := imageOf(t, layerOf(t, "a=1"), layerOf(t, "b=2"))
	other := imageOf(t, layerOf(t, "c=3"))
	two := layoutOf(t, img, other)
	s := openStore(t, Config{})
	for name, path := range map[string]string{
		"layout": layoutOf(t, img), "archive": packed(t, layoutOf(t, img)),
		"one of two": two + "@" + digestOf(t, img), "one of two in an archive": packed(t, two) + "@" + digestOf(t, img),
	} {
		got := ensure(t, s, parse(t, path))
		if diff := cmp.Diff([]string{"a=1", "b=2"}, contents(t, got)); diff != "" || got.Digest != digestOf(t, img) || got.Run.WorkDir != "/work" {
			t.Errorf("%s: %s %+v", name, diff, got)
		}
	}
	got := ensure(t, s, parse(t, saved(t, map[string]v1.Image{"app:1": img})))
	config, _ := img.ConfigName()
	if diff := cmp.Diff([]string{"a=1", "b=2"}, contents(t, got)); diff != "" || got.ConfigDigest != config.String() {
		t.Errorf("saved: %s %+v", diff, got)
	}
	if s.held() != "4 of 4" { // two layers, and the image as it is and as docker save has it
		t.Errorf("held %s", s.held())
	}
}

func TestBadFilesAndFolders(t *testing.T) {
	img, other := imageOf(t, layerOf(t, "a=1")), imageOf(t, layerOf(t, "b=2"))
	digest, _ := layerBytes(t, img, 0)
	blob := func(dir, digest string) string {
		return filepath.Join(dir, "blobs/sha256", strings.TrimPrefix(digest, "sha256:"))
	}
	in := func(change func(dir string) error) func(*testing.T) string {
		return func(t *testing.T) string {
			dir := layoutOf(t, img)
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			return dir
		}
	}
	file := func(text string) func(*testing.T) string {
		return func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "file")
			write(t, path, text)
			return path
		}
	}
	tests := []struct {
		name string
		make func(t *testing.T) string
		want string
	}{
		{"nothing", func(t *testing.T) string { return filepath.Join(t.TempDir(), "none") }, "no such path"},
		{"an empty folder", func(t *testing.T) string { return t.TempDir() }, "is no OCI layout"},
		{"two images", func(t *testing.T) string { return layoutOf(t, img, other) }, "there are 2 images: name one of them with @ and its digest: sha256:"},
		{"another digest", func(t *testing.T) string { return layoutOf(t, img) + "@sha256:" + strings.Repeat("0", 64) }, "no such file"},
		{"a layer with other bytes", in(func(dir string) error {
			text, err := os.ReadFile(blob(dir, digest))
			if err == nil {
				text[len(text)-1] ^= 1
				err = os.WriteFile(blob(dir, digest), text, 0o600)
			}
			return err
		}), "what came has the digest"},
		{"a torn layer", in(func(dir string) error { return os.Truncate(blob(dir, digest), 50) }), "it ends after 50 of"},
		{"a manifest with other bytes", in(func(dir string) error {
			return os.WriteFile(blob(dir, digestOf(t, img)), []byte("{}"), 0o600)
		}), "what came has the digest"},
		{"a layer that is a link to elsewhere", in(func(dir string) error {
			if err := os.Remove(blob(dir, digest)); err != nil {
				return err
			}
			return os.Symlink("/etc/passwd", blob(dir, digest))
		}), "escapes"},
		{"a layer that is a pipe", in(func(dir string) error {
			if err := os.Remove(blob(dir, digest)); err != nil {
				return err
			}
			return unix.Mkfifo(blob(dir, digest), 0o600)
		}), "is no file"},
		{"a device", func(t *testing.T) string { return "/dev/zero" }, "neither a folder nor a file"},
		{"no archive", file(strings.Repeat("text ", 1000)), "read the archive"},
		{"an empty file", file(""), "neither an OCI layout"},
		{"a compressed archive", file("\x1f\x8b\x08\x00"), "unpack it with gunzip"},
		{"an archive of something else", func(t *testing.T) string {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "x"), "x")
			return packed(t, dir)
		}, "neither an OCI layout"},
		{"two saved images", func(t *testing.T) string { return saved(t, map[string]v1.Image{"a:1": img, "b:1": other}) }, "save one alone"},
		{"a saved image by its digest", func(t *testing.T) string {
			return saved(t, map[string]v1.Image{"a:1": img}) + "@" + digestOf(t, img)
		}, "leave out @"},
		{"a torn archive", func(t *testing.T) string {
			path := saved(t, map[string]v1.Image{"a:1": imageOf(t, filled(t, "a", mib))})
			if err := os.Truncate(path, 600_000); err != nil {
				t.Fatal(err)
			}
			return path
		}, "unexpected EOF"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := openStore(t, Config{})
			ref := parse(t, test.make(t))
			_, err := s.Ensure(t.Context(), ref, source.Auth{}, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "image "+ref.String()) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			s.left(t)
		})
	}
}

// A busybox that runs: the layers are what a real program needs, in the order that overlayfs wants.
func TestAnOverlayOfTheLayersRuns(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to mount an overlay")
	}
	shell, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("no busybox here")
	}
	w := newWorld(t)
	img := ensure(t, openStore(t, Config{}), w.push("app:1", imageOf(t, layerOf(t, "bin/", "bin/sh="+string(shell), "etc/name=lower", "etc/gone=1"), layerOf(t, "etc/name=upper", "etc/.wh.gone="))))
	at := t.TempDir()
	if err := unix.Mount("overlay", at, "overlay", 0, "lowerdir="+img.Layers[1]+":"+img.Layers[0]); err != nil {
		t.Skip("cannot mount an overlay:", err)
	}
	defer func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	out, err := exec.Command("chroot", at, "/bin/sh", "-c", "read name < /etc/name; echo $name; [ -e /etc/gone ] || echo gone").CombinedOutput()
	if err != nil || string(out) != "upper\ngone\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(at, "etc/gone")); !os.IsNotExist(err) {
		t.Errorf("etc/gone: %v, want %v", err, fs.ErrNotExist)
	}
}
