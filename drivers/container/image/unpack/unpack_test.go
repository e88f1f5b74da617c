package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

var when = time.Unix(1_600_000_000, 123_456_789)

// entry is one of a layer made by hand.
type entry struct {
	name    string
	kind    byte // TypeReg if it is not given
	text    string
	link    string
	mode    int64
	uid     int
	gid     int
	records map[string]string
}

func layerOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if e.kind == tar.TypeXGlobalHeader {
			if err := w.WriteHeader(&tar.Header{Typeflag: e.kind, PAXRecords: e.records}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Uid: e.uid, Gid: e.gid, Size: int64(len(e.text)), ModTime: when, PAXRecords: e.records, Format: tar.FormatPAX}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if e.mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var small = Limits{Bytes: 16 << 20, Entries: 1000, Ratio: 250, RatioFrom: 1 << 20}

func unpackTo(t testing.TB, layer []byte, limits Limits) (string, Layer, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "fs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	made, err := Unpack(t.Context(), dir, bytes.NewReader(layer), limits, func(int64) error { return nil })
	return dir, made, err
}

func needRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners, capabilities and trusted attributes")
	}
}

// listing says of each file below a folder what a layer can say of it.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		rel, _ := filepath.Rel(dir, path)
		line := fmt.Sprintf("%s %s %d:%d", info.Mode(), rel, stat.Uid, stat.Gid)
		switch {
		case isWhiteout(info):
			line = "whiteout " + rel
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			line += " -> " + target
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if len(text) > 1000 {
				text = fmt.Appendf(nil, "%d bytes, %x", len(text), sha256.Sum256(text))
			}
			line += fmt.Sprintf(" %q", string(text))
		}
		if mark, err := attributeOf(path, "trusted.overlay.opaque"); err == nil {
			line += " opaque=" + mark
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func attributeOf(path, name string) (string, error) {
	b := make([]byte, 256)
	n, err := unix.Lgetxattr(path, name, b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func TestALayerBecomesAFolder(t *testing.T) {
	needRoot(t)
	long := strings.Repeat("n", 200) + "/" + strings.Repeat("m", 200)
	layer := layerOf(t,
		entry{name: "./", kind: tar.TypeDir, mode: 0o711, uid: 5},
		entry{name: "etc/", kind: tar.TypeDir, mode: 0o555, uid: 1, gid: 2},
		entry{name: "etc/hosts", text: "here", mode: 0o640, uid: 1000, gid: 1001},
		entry{name: "/app/run", text: "#!", mode: 0o755},
		entry{name: "bin/su", text: "su", mode: 0o6755, records: map[string]string{"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.colour": "blue"}},
		entry{name: "bin/su2", kind: tar.TypeLink, link: "bin/su"},
		entry{name: "bin/su", kind: tar.TypeLink, link: "bin/su"},
		entry{name: "lib", kind: tar.TypeSymlink, link: "usr/lib", uid: 7},
		entry{name: "usr/lib/x", text: "x"},
		entry{name: "lib/y", text: "through a link"},
		entry{name: "tmp/", kind: tar.TypeDir, mode: 0o1777},
		entry{name: "abs", kind: tar.TypeSymlink, link: "/etc/shadow"},
		entry{name: "up", kind: tar.TypeSymlink, link: "../../../etc"},
		entry{name: "pipe", kind: tar.TypeFifo, mode: 0o600},
		entry{name: "dev/sda", kind: tar.TypeBlock},
		entry{name: "dev/hidden", kind: tar.TypeChar},
		entry{name: long, text: "long"},
		entry{name: "twice", text: "first"},
		entry{name: "twice", text: "second"},
		entry{name: "odd \n\xff名", text: "bytes"},
		entry{kind: tar.TypeXGlobalHeader, records: map[string]string{"comment": "c"}},
	)
	dir, made, err := unpackTo(t, layer, small)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`Lrwxrwxrwx abs 0:0 -> /etc/shadow`,
		`drwxr-xr-x app 0:0`, `-rwxr-xr-x app/run 0:0 "#!"`,
		`drwxr-xr-x bin 0:0`, `ugrwxr-xr-x bin/su 0:0 "su"`, `ugrwxr-xr-x bin/su2 0:0 "su"`,
		`drwxr-xr-x dev 0:0`,
		`dr-xr-xr-x etc 1:2`, `-rw-r----- etc/hosts 1000:1001 "here"`,
		`Lrwxrwxrwx lib 7:0 -> usr/lib`,
		`drwxr-xr-x ` + strings.Repeat("n", 200) + ` 0:0`, `-rwxr-xr-x ` + long + ` 0:0 "long"`,
		"-rwxr-xr-x odd \n\xff名 0:0 \"bytes\"",
		`prw------- pipe 0:0`,
		`dtrwxrwxrwx tmp 0:0`,
		`-rwxr-xr-x twice 0:0 "second"`,
		`Lrwxrwxrwx up 0:0 -> ../../../etc`,
		`drwxr-xr-x usr 0:0`, `drwxr-xr-x usr/lib 0:0`, `-rwxr-xr-x usr/lib/x 0:0 "x"`, `-rwxr-xr-x usr/lib/y 0:0 "through a link"`,
	}
	if diff := cmp.Diff(want, listing(t, dir)); diff != "" {
		t.Error(diff)
	}
	sum := sha256.Sum256(layer)
	if made.DiffID != "sha256:"+hex.EncodeToString(sum[:]) {
		t.Errorf("the digest is %s", made.DiffID)
	}
	if want := []string{"app", "bin", "dev", strings.Repeat("n", 200), "usr", "usr/lib"}; !slices.Equal(want, made.Implicit) {
		t.Errorf("implicit folders: %q", made.Implicit)
	}
	for path, want := range map[string]time.Time{"": when, "etc": when, "etc/hosts": when, "bin/su": when, "abs": when, "tmp": when, "pipe": when, "bin": time.Unix(0, 0)} {
		info, err := os.Lstat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if !info.ModTime().Equal(want) {
			t.Errorf("%q is of %s, want %s", path, info.ModTime(), want)
		}
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o711 || info.Sys().(*syscall.Stat_t).Uid != 5 {
		t.Errorf("the root is %v, %v", info, err)
	}
	for name, want := range map[string]string{"security.capability": capability, "user.colour": "blue"} {
		if got, err := attributeOf(filepath.Join(dir, "bin/su"), name); err != nil || got != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
}

func TestWhiteouts(t *testing.T) {
	needRoot(t)
	dir, made, err := unpackTo(t, layerOf(t,
		entry{name: "a/.wh.gone"},
		entry{name: "a/.wh.back"}, entry{name: "a/back", text: "own"},
		entry{name: "a/kept", text: "own"}, entry{name: "a/.wh.kept"},
		entry{name: "opaque/", kind: tar.TypeDir}, entry{name: "opaque/.wh..wh..opq"}, entry{name: "opaque/new", text: "n"},
		entry{name: ".wh.anew"}, entry{name: "anew/", kind: tar.TypeDir},
		entry{name: ".wh.anew2"}, entry{name: "anew2/in", text: "i"},
		entry{name: "dir/", kind: tar.TypeDir}, entry{name: ".wh.dir"},
		entry{name: ".wh..wh.plnk/1", text: "of AUFS"},
	), small)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`drwxr-xr-x a 0:0`, `-rwxr-xr-x a/back 0:0 "own"`, `whiteout a/gone`, `-rwxr-xr-x a/kept 0:0 "own"`,
		`drwxr-xr-x anew 0:0 opaque=y`,
		`drwxr-xr-x anew2 0:0 opaque=y`, `-rwxr-xr-x anew2/in 0:0 "i"`,
		`drwxr-xr-x dir 0:0 opaque=y`,
		`drwxr-xr-x opaque 0:0 opaque=y`, `-rwxr-xr-x opaque/new 0:0 "n"`,
	}
	if diff := cmp.Diff(want, listing(t, dir)); diff != "" {
		t.Error(diff)
	}
	if made.Opaque || !slices.Equal(made.Implicit, []string{"a"}) {
		t.Errorf("opaque %v, implicit %q", made.Opaque, made.Implicit)
	}
	if _, made, err = unpackTo(t, layerOf(t, entry{name: ".wh..wh..opq"}), small); err != nil || !made.Opaque {
		t.Errorf("a layer that hides all others says %v, %v", made.Opaque, err)
	}
}

// Each is refused for its reason, and nothing is made outside of its folder.
func TestHostileLayers(t *testing.T) {
	deep := strings.Repeat("d/", 300)
	many := make([]entry, 1001)
	for i := range many {
		many[i] = entry{name: fmt.Sprint("f", i)}
	}
	circle := []entry{{name: "c", kind: tar.TypeSymlink, link: "c"}, {name: "c/x"}}
	tests := []struct {
		name  string
		layer []byte
		want  string
	}{
		{"out by its name", layerOf(t, entry{name: "../canary/x"}), "leads out of the layer"},
		{"out and in again", layerOf(t, entry{name: "a/../../fs/x"}), "leads out of the layer"},
		{"through an absolute link", layerOf(t, entry{name: "l", kind: tar.TypeSymlink, link: "/tmp"}, entry{name: "l/x"}), `"/tmp", which leads out`},
		{"through a link up", layerOf(t, entry{name: "a/l", kind: tar.TypeSymlink, link: "../../canary"}, entry{name: "a/l/x"}), "which leads out"},
		{"through links in a circle", layerOf(t, circle...), "more than 40 symbolic links"},
		{"a folder in place of a link", layerOf(t, entry{name: "l", kind: tar.TypeSymlink, link: "../canary"}, entry{name: "l/", kind: tar.TypeDir, mode: 0o777}), ""},
		{"a file in place of a link", layerOf(t, entry{name: "l", kind: tar.TypeSymlink, link: "../canary/file"}, entry{name: "l", text: "overwritten"}), ""},
		{"an absolute name", layerOf(t, entry{name: "/canary/file", text: "overwritten"}), ""},
		{"a hard link out", layerOf(t, entry{name: "h", kind: tar.TypeLink, link: "../canary/file"}), "leads out of the layer"},
		{"a hard link to an absolute name", layerOf(t, entry{name: "h", kind: tar.TypeLink, link: "/etc/passwd"}), "no file of this layer"},
		{"a hard link through a link", layerOf(t, entry{name: "l", kind: tar.TypeSymlink, link: "../canary"}, entry{name: "h", kind: tar.TypeLink, link: "l/file"}), "which leads out"},
		{"a hard link to a link, written to", layerOf(t, entry{name: "l", kind: tar.TypeSymlink, link: "../canary/file"}, entry{name: "h", kind: tar.TypeLink, link: "l"}, entry{name: "h", text: "overwritten"}), ""},
		{"a hard link to a folder", layerOf(t, entry{name: "d/", kind: tar.TypeDir}, entry{name: "h", kind: tar.TypeLink, link: "d"}), "no file of this layer"},
		{"a hard link to a whiteout", layerOf(t, entry{name: ".wh.w"}, entry{name: "h", kind: tar.TypeLink, link: "w"}), "no file of this layer"},
		{"a whiteout of the folder above", layerOf(t, entry{name: "d/.wh..."}), "a whiteout of nothing"},
		{"a whiteout of the folder itself", layerOf(t, entry{name: "d/.wh.."}), "a whiteout of nothing"},
		{"a whiteout of nothing", layerOf(t, entry{name: "d/.wh."}), "a whiteout of nothing"},
		{"in a whiteout", layerOf(t, entry{name: ".wh.d/x"}), "a whiteout is no folder"},
		{"below a file", layerOf(t, entry{name: "f"}, entry{name: "f/x"}), "is no folder"},
		{"in place of a full folder", layerOf(t, entry{name: "d/x"}, entry{name: "d", kind: tar.TypeSymlink, link: "/"}), "not empty"},
		{"a root that is a link", layerOf(t, entry{name: "./", kind: tar.TypeSymlink, link: "/"}), "it has no name"},
		{"nested too deep", layerOf(t, entry{name: deep + "x"}), "nested more than 255 deep"},
		{"nested too deep through a link", layerOf(t, entry{name: strings.Repeat("d/", 200) + "x"}, entry{name: "l", kind: tar.TypeSymlink, link: strings.Repeat("d/", 200)}, entry{name: "l/" + strings.Repeat("e/", 100) + "x"}), "nested more than 255 deep"},
		{"a name without end", layerOf(t, entry{name: strings.Repeat("n", 5000)}), "the name has 5000 bytes"},
		{"an owner that means nobody", layerOf(t, entry{name: "f", uid: 1<<32 - 1}), "is none"},
		{"an unknown type", layerOf(t, entry{name: "f", kind: 'Q'}), "unknown type"},
		{"too many entries", layerOf(t, many...), "more than 1000 entries"},
		{"too large", layerOf(t, entry{name: "f", text: strings.Repeat("x", 17<<20)}), "more than the 16 MiB"},
		{"too large together", layerOf(t, entry{name: "f", text: strings.Repeat("x", 9<<20)}, entry{name: "g", text: strings.Repeat("x", 9<<20)}), "larger than the 16 MiB"},
		{"a declared size only", layerOf(t, entry{name: "f", text: strings.Repeat("x", 17<<20)})[:2048], "more than the 16 MiB"},
		{"a bomb", gzipped(t, layerOf(t, entry{name: "f", text: strings.Repeat("\x00", 15<<20)})), "taken for a bomb"},
		{"a bomb behind the end", gzipped(t, append(layerOf(t, entry{name: "f"}), make([]byte, 200<<20)...)), "bomb"},
		{"no end behind the end", append(layerOf(t, entry{name: "f"}), make([]byte, 97<<20)...), "more than 96 MiB come out"},
		{"zstd that wants gigabytes", []byte("\x28\xb5\x2f\xfd\x00\xb8\x00\x00\x00"), "more than 32 MiB of memory"},
		{"torn gzip", gzipped(t, layerOf(t, entry{name: "f", text: "text"}))[:60], "ends in its midst"},
		{"torn tar", layerOf(t, entry{name: "f", text: strings.Repeat("x", 4000)})[:2048], "ends in its midst"},
		{"no tar", []byte(strings.Repeat("these are no headers ", 100)), "corrupt"},
		{"gzip of nothing known", gzipped(t, []byte(strings.Repeat("these are no headers ", 100))), "corrupt"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "fs")
			canary := filepath.Join(filepath.Dir(dir), "canary")
			for _, d := range []string{dir, canary} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(canary, "file"), []byte("alive"), 0o644); err != nil {
				t.Fatal(err)
			}
			before := listing(t, canary)
			_, err := Unpack(t.Context(), dir, bytes.NewReader(test.layer), small, func(int64) error { return nil })
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			case test.want != "" && !errors.Is(err, bad.Image):
				t.Errorf("%v does not blame the image", err)
			}
			if diff := cmp.Diff(before, listing(t, canary)); diff != "" {
				t.Error("outside of its folder:", diff)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Error("what it left cannot be removed:", err)
			}
		})
	}
}

// Attributes that overlayfs or a security module would obey are the machine's; a layer's are left out.
func TestAttributesOfTheMachine(t *testing.T) {
	needRoot(t)
	dir, _, err := unpackTo(t, layerOf(t, entry{name: "d/", kind: tar.TypeDir, records: map[string]string{
		"SCHILY.xattr.trusted.overlay.redirect": "/../..",
		"SCHILY.xattr.trusted.overlay.opaque":   "y",
		"SCHILY.xattr.user.overlay.opaque":      "y",
		"SCHILY.xattr.security.selinux":         "unconfined",
		"SCHILY.xattr.user.mine":                "kept",
	}}), small)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]byte, 1000)
	n, err := unix.Llistxattr(filepath.Join(dir, "d"), names)
	if err != nil || string(names[:n]) != "user.mine\x00" {
		t.Errorf("attributes %q, %v", names[:n], err)
	}
}

func gzipped(t testing.TB, layer []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(layer); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestCompressions(t *testing.T) {
	layer := layerOf(t, entry{name: "f", text: strings.Repeat("text ", 1<<17)})
	packer, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string][]byte{"tar": layer, "gzip": gzipped(t, layer), "zstd": packer.EncodeAll(layer, nil)} {
		dir, made, err := unpackTo(t, packed, small)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, "f"))
		if err != nil || string(text) != strings.Repeat("text ", 1<<17) {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
		if sum := sha256.Sum256(layer); made.DiffID != "sha256:"+hex.EncodeToString(sum[:]) {
			t.Errorf("%s: the digest is %s", name, made.DiffID)
		}
	}
	if _, _, err := unpackTo(t, nil, small); err != nil {
		t.Errorf("an empty layer: %v", err)
	}
}

func TestNoRoomIsNotTheImagesFault(t *testing.T) {
	none := errors.New("no room")
	_, err := Unpack(t.Context(), t.TempDir(), bytes.NewReader(layerOf(t, entry{name: "f"})), small, func(int64) error { return none })
	if !errors.Is(err, none) || errors.Is(err, bad.Image) {
		t.Errorf("got %v", err)
	}
}

func TestItStopsWhenItIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Unpack(ctx, t.TempDir(), bytes.NewReader(layerOf(t, entry{name: "f"}, entry{name: "g"})), small, func(int64) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || errors.Is(err, bad.Image) {
		t.Errorf("got %v", err)
	}
}
