package unpack

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever the bytes are: nothing outside of the folder changes, no device comes to be but whiteouts, no attribute that
// overlayfs obeys but its mark on folders, and what was made can be removed.
func FuzzUnpack(f *testing.F) {
	for _, seed := range [][]byte{
		layerOf(f, entry{name: "a/b", text: "text"}, entry{name: "a/l", kind: tar.TypeSymlink, link: "../.."}, entry{name: "a/l/x"}),
		layerOf(f, entry{name: "a/.wh.b"}, entry{name: "a/.wh..wh..opq"}, entry{name: "h", kind: tar.TypeLink, link: "a/b"}),
		layerOf(f, entry{name: "d", kind: tar.TypeChar}, entry{name: "p", kind: tar.TypeFifo}, entry{name: "/d/", kind: tar.TypeDir}),
		layerOf(f, entry{name: "x", records: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.a": "b"}}),
		gzipped(f, layerOf(f, entry{name: "z", text: "zip"})),
	} {
		f.Add(seed)
	}
	f.Fuzz(unpackAndLook)
}

// FuzzEntries is the same with layers that are always well-formed: each line is an entry's type, name and link, so that
// what is tried is names against names.
func FuzzEntries(f *testing.F) {
	for _, seed := range []string{
		"0 a/b\n2 a/l ../..\n0 a/l/x\n",
		"5 d\n2 d/e f\n0 f/.wh.g\n1 h d/e\n0 h\n",
		"0 .wh.a\n0 a/b\n0 a/.wh..wh..opq\n5 a\n6 p\n3 c\n",
		"2 l .\n0 l/l/l/x\n1 y l/x\n2 x /\n5 x\n",
		"2 canary ../canary\n0 canary/file\n1 f canary/file\n0 f\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var entries []entry
		for line := range strings.Lines(text) {
			parts := strings.Split(strings.TrimSuffix(line, "\n"), " ")
			if len(parts) < 2 || len(parts[0]) != 1 || len(entries) == 50 || strings.ContainsRune(line, 0) {
				continue
			}
			e := entry{kind: parts[0][0], name: parts[1]}
			if len(parts) > 2 {
				e.link = parts[2]
			}
			if e.kind == tar.TypeReg {
				e.text = "text"
			}
			if strings.ContainsRune("0123567", rune(e.kind)) && (e.kind == tar.TypeDir || !strings.HasSuffix(e.name, "/")) {
				entries = append(entries, e)
			}
		}
		unpackAndLook(t, layerOf(t, entries...))
	})
}

func unpackAndLook(t *testing.T, layer []byte) {
	above := t.TempDir()
	dir, canary := filepath.Join(above, "fs"), filepath.Join(above, "canary")
	for _, d := range []string{dir, canary} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(canary, "file"), []byte("alive"), 0o644); err != nil {
		t.Fatal(err)
	}
	var grown int64
	limits := Limits{Bytes: 1 << 20, Entries: 100, Ratio: 250, RatioFrom: 1 << 20}
	_, _ = Unpack(t.Context(), dir, bytes.NewReader(layer), limits, func(more int64) error { grown += more; return nil })
	if grown > limits.Bytes {
		t.Errorf("%d bytes were taken, %d were allowed", grown, limits.Bytes)
	}
	outside(t, above)
	inside(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// finder is told what is wrong.
type finder interface{ Errorf(string, ...any) }

type findings struct{ count int }

func (f *findings) Errorf(string, ...any) { f.count++ }

// outside looks at the folders beside the layer's.
func outside(t finder, above string) {
	for dir, want := range map[string]int{above: 2, filepath.Join(above, "canary"): 1} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != want {
			t.Errorf("outside of its folder: %v, %v", entries, err)
		}
	}
	info, err := os.Lstat(filepath.Join(above, "canary/file"))
	if err != nil || info.Mode() != 0o644 || info.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Errorf("outside of its folder: %v, %v", info, err)
	}
	if text, err := os.ReadFile(filepath.Join(above, "canary/file")); err != nil || string(text) != "alive" {
		t.Errorf("outside of its folder: %q, %v", text, err)
	}
}

// inside looks at what the layer has made.
func inside(t finder, dir string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeDevice != 0 && !isWhiteout(info) {
			t.Errorf("a device: %s", path)
		}
		for _, mark := range []string{"trusted.overlay.redirect", "trusted.overlay.metacopy", "user.overlay.redirect", "user.overlay.metacopy", "trusted.overlay.opaque", "user.overlay.opaque"} {
			value, err := attributeOf(path, mark)
			if err == nil && (!info.IsDir() || filepath.Ext(mark) != ".opaque" || value != "y") {
				t.Errorf("%s has %s=%q", path, mark, value)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("look at what was made: %v", err)
	}
}

// The oracle finds what it looks for.
func TestTheOracleOfTheFuzzerBites(t *testing.T) {
	needRoot(t)
	above := t.TempDir()
	dir, canary := filepath.Join(above, "fs"), filepath.Join(above, "canary")
	file := filepath.Join(canary, "file")
	plant := map[string]func() error{
		"a file beside":        func() error { return os.WriteFile(filepath.Join(above, "x"), nil, 0o600) },
		"a file in the canary": func() error { return os.WriteFile(filepath.Join(canary, "x"), nil, 0o600) },
		"other bytes":          func() error { return os.WriteFile(file, []byte("dead"), 0o644) },
		"another mode":         func() error { return os.Chmod(file, 0o600) },
		"a second name":        func() error { return os.Link(file, filepath.Join(dir, "x")) },
		"a device":             func() error { return unix.Mknod(filepath.Join(dir, "x"), unix.S_IFBLK, 1) },
		"a redirection":        func() error { return unix.Setxattr(dir, "trusted.overlay.redirect", []byte("/"), 0) },
	}
	for name, do := range plant {
		if err := os.RemoveAll(above); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{dir, canary} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(file, []byte("alive"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := do(); err != nil {
			t.Fatal(err)
		}
		found := &findings{}
		outside(found, above)
		inside(found, dir)
		if found.count == 0 {
			t.Errorf("%s was not found", name)
		}
	}
}
