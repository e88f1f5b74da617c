package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// there is a shell of this machine in place of a task's: the real sh and tar, or all of busybox. Input that breaks off is the
// end of input to it, as it is to a task.
type there struct {
	dir   string
	path  string // of programs
	shell string
}

func (h there) run(ctx context.Context, in io.Reader, out io.Writer, script string, args ...string) error {
	cmd := exec.CommandContext(ctx, h.shell, append([]string{"-c", script, "sh"}, args...)...)
	var said bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env, cmd.WaitDelay = h.dir, out, &said, []string{"PATH=" + h.path}, time.Second
	if in != nil {
		cmd.Stdin = in
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, said.String())
	}
	return nil
}

func everyShell(t *testing.T, test func(t *testing.T, h there)) {
	t.Run("sh", func(t *testing.T) { test(t, there{t.TempDir(), "/usr/bin:/bin", "/bin/sh"}) })
	t.Run("busybox", func(t *testing.T) {
		busybox, err := exec.LookPath("busybox")
		if err != nil {
			t.Skip("busybox is not there")
		}
		bin := t.TempDir()
		for _, name := range []string{"sh", "tar", "mkdir", "mv", "rm"} {
			if err := os.Symlink(busybox, filepath.Join(bin, name)); err != nil {
				t.Fatal(err)
			}
		}
		test(t, there{t.TempDir(), bin, filepath.Join(bin, "sh")})
	})
}

// oddNames are a tree in which every name is one that something trips over.
func oddNames(t *testing.T, dir string) {
	t.Helper()
	at := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	for name, mode := range map[string]fs.FileMode{
		"plain": 0o644, "-rf": 0o600, "a b\tc": 0o755, "new\nline": 0o444, "\xff\xfe": 0o640, "'\"$(x)`": 0o604, ".hidden": 0o644, "...": 0o644,
		strings.Repeat("long", 60): 0o644, "deep/" + strings.Repeat("folders of a long name/", 12) + "file": 0o644, "*": 0o644, "~": 0o644, "empty": 0o644,
	} {
		path := filepath.Join(dir, name)
		text := []byte("text of " + name)
		if name == "empty" {
			text = nil
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o600), os.Chmod(path, mode), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	closed := filepath.Join(dir, "closed")
	err := errors.Join(os.Symlink("plain", filepath.Join(dir, "link")), os.Symlink("nothing", filepath.Join(dir, "deep", "dangling")),
		os.MkdirAll(filepath.Join(dir, "nothing in it"), 0o755), os.Mkdir(closed, 0o755), os.WriteFile(filepath.Join(closed, "in it"), nil, 0o444),
		os.Chmod(closed, 0o555), os.Chtimes(closed, at, at), os.Chtimes(filepath.Join(closed, "in it"), at, at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o755) })
}

// treeOf is all that a copy has to keep. A folder that was there before keeps its own time.
func treeOf(t *testing.T, dir string, times bool) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		line := fmt.Sprintf("%q %v", name, info.Mode())
		switch {
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %s %q", info.ModTime().UTC().Format(time.RFC3339), text)
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " " + to
		case info.Name() == "closed" && times:
			line += " " + info.ModTime().UTC().Format(time.RFC3339)
		}
		all = append(all, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all[1:] // the folder itself has been given another name, and perhaps been there before
}

func noCount() *counter { return &counter{stop: make(chan struct{})} }

// nothingLeft says that no stage was left.
func nothingLeft(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if found, err := filepath.Glob(filepath.Join(dir, ".coinop*")); err != nil || len(found) > 0 {
			t.Errorf("left are %q, %v", found, err)
		}
	}
}

func TestAFolderThereAndBackIsTheSame(t *testing.T) {
	everyShell(t, func(t *testing.T, h there) {
		here := t.TempDir()
		source := filepath.Join(here, "odd -names")
		oddNames(t, source)
		for _, first := range []bool{true, false} { // the second time over what is there
			times := first && h.shell == "/bin/sh" // busybox has changed a folder's time again when it fills it
			want := treeOf(t, source, times)
			if _, err := copyIn(t.Context(), h.run, source, "./", noCount()); err != nil {
				t.Fatal(err)
			}
			if got := treeOf(t, filepath.Join(h.dir, "odd -names"), times); !slices.Equal(got, want) {
				t.Fatal("there: ", cmp.Diff(want, got))
			}
		}
		back := t.TempDir()
		for _, first := range []bool{true, false} {
			want := treeOf(t, filepath.Join(h.dir, "odd -names"), first)
			got, err := copyOut(t.Context(), h.run, "./odd -names", back, noCount())
			if err != nil || len(got.LeftOut) > 0 {
				t.Fatal(got, err)
			}
			if got := treeOf(t, filepath.Join(back, "odd -names"), first); !slices.Equal(got, want) {
				t.Fatal("back: ", cmp.Diff(want, got))
			}
		}
		t.Cleanup(func() {
			_ = os.Chmod(filepath.Join(back, "odd -names", "closed"), 0o755)
			_ = os.Chmod(filepath.Join(h.dir, "odd -names", "closed"), 0o755)
		})
		nothingLeft(t, h.dir, back, here)
	})
}

func TestAFileGoesWhereItIsToldTo(t *testing.T) {
	everyShell(t, func(t *testing.T, h there) {
		here := t.TempDir()
		file := filepath.Join(here, "-file")
		if err := errors.Join(os.WriteFile(file, []byte("new"), 0o640), os.Mkdir(filepath.Join(h.dir, "folder"), 0o755), os.WriteFile(filepath.Join(h.dir, "old"), []byte("old"), 0o600)); err != nil {
			t.Fatal(err)
		}
		for to, lies := range map[string]string{"./": "-file", "./folder": "folder/-file", "./old": "old", "./other": "other", "./folder/": "folder/-file", h.dir + "/abs": "abs"} {
			if _, err := copyIn(t.Context(), h.run, file, to, noCount()); err != nil {
				t.Fatalf("%s: %v", to, err)
			}
			if got, err := os.ReadFile(filepath.Join(h.dir, lies)); err != nil || string(got) != "new" {
				t.Errorf("%s: %q, %v", to, got, err)
			}
		}
		for _, to := range []string{"./none/", "./none/file"} {
			if _, err := copyIn(t.Context(), h.run, file, to, noCount()); err == nil || !strings.Contains(err.Error(), "there is no folder") {
				t.Errorf("%s: %v", to, err)
			}
		}
		if err := os.Mkdir(filepath.Join(h.dir, "folder", "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("old", filepath.Join(h.dir, "link")); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ from, to, lies string }{
			{"./old", here, "old"}, {"./old", filepath.Join(here, "mine"), "mine"}, {"./link", here, "link"}, {h.dir + "/abs", filepath.Join(here, "mine"), "mine"},
		} {
			if _, err := copyOut(t.Context(), h.run, c.from, c.to, noCount()); err != nil {
				t.Fatalf("%s: %v", c.from, err)
			}
			info, err := os.Lstat(filepath.Join(here, c.lies))
			if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o640 || info.Size() != 3 {
				t.Errorf("%s: %v, %v", c.from, info, err)
			}
		}
		if _, err := copyOut(t.Context(), h.run, "./none", here, noCount()); err == nil || !strings.Contains(err.Error(), "there is no ./none") {
			t.Error(err)
		}
		if _, err := copyOut(t.Context(), h.run, "./folder", file, noCount()); err == nil {
			t.Error("a folder took a file's place")
		}
		nothingLeft(t, h.dir, here, filepath.Join(h.dir, "folder"))
	})
}

// A connection that breaks, wherever it does, leaves what was there, and no half of anything.
func TestACopyThatBreaksOffLeavesWhatWasThere(t *testing.T) {
	everyShell(t, func(t *testing.T, h there) {
		here := t.TempDir()
		file := filepath.Join(here, "file")
		if err := errors.Join(os.WriteFile(file, bytes.Repeat([]byte("new"), 50_000), 0o644), os.WriteFile(filepath.Join(h.dir, "file"), []byte("old"), 0o644)); err != nil {
			t.Fatal(err)
		}
		for _, after := range []int64{0, 100, 512, 10_240, 100_000} {
			broken := func(ctx context.Context, in io.Reader, out io.Writer, script string, args ...string) error {
				if script != unpackIn {
					return h.run(ctx, in, out, script, args...)
				}
				_ = h.run(ctx, io.LimitReader(in, after), out, script, args...) // which tar may take for the end
				return errors.New("the line is cut")
			}
			if _, err := copyIn(t.Context(), broken, file, "./", noCount()); err == nil || !strings.Contains(err.Error(), "cut") {
				t.Errorf("after %d bytes: %v", after, err)
			}
			if got, err := os.ReadFile(filepath.Join(h.dir, "file")); err != nil || string(got) != "old" {
				t.Errorf("after %d bytes there are %d, %v", after, len(got), err)
			}
			cut := func(ctx context.Context, in io.Reader, out io.Writer, script string, args ...string) error {
				var all bytes.Buffer
				if err := h.run(ctx, in, &all, script, args...); err != nil {
					return err
				}
				if _, err := io.CopyN(out, &all, after); err != nil {
					return err
				}
				return errors.New("the line is cut")
			}
			mine := filepath.Join(here, "mine")
			if err := os.WriteFile(mine, []byte("mine"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(h.dir, "large"), bytes.Repeat([]byte("large"), 50_000), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := copyOut(t.Context(), cut, "./large", mine, noCount()); err == nil {
				t.Errorf("after %d bytes it succeeded", after)
			}
			if got, err := os.ReadFile(mine); err != nil || string(got) != "mine" {
				t.Errorf("after %d bytes there are %d, %v", after, len(got), err)
			}
		}
		nothingLeft(t, h.dir, here)
	})
}

// What comes out of a task is a stranger's: whatever it says, nothing outside of the folder is touched.
func TestAHostileArchiveTouchesNothingOutside(t *testing.T) {
	outside := t.TempDir()
	here := filepath.Join(outside, "here")
	if err := errors.Join(os.Mkdir(here, 0o755), os.WriteFile(filepath.Join(outside, "precious"), []byte("precious"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for what, entries := range map[string][]tar.Header{
		"a name that leads out":              {{Name: "../precious", Typeflag: tar.TypeReg}},
		"an absolute name":                   {{Name: filepath.Join(outside, "precious"), Typeflag: tar.TypeReg}},
		"a link, and a file behind it":       {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "l/precious", Typeflag: tar.TypeReg}},
		"an absolute link":                   {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "l/precious", Typeflag: tar.TypeReg}},
		"a link by way of another":           {{Name: "d", Typeflag: tar.TypeSymlink, Linkname: "."}, {Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d/.."}, {Name: "l/../precious", Typeflag: tar.TypeReg}},
		"another name of a file outside":     {{Name: "h", Typeflag: tar.TypeLink, Linkname: "../../../precious"}},
		"a device":                           {{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		"a program that runs as its owner's": {{Name: "su", Typeflag: tar.TypeReg, Mode: 0o6755}},
	} {
		t.Run(what, func(t *testing.T) {
			run := func(_ context.Context, _ io.Reader, out io.Writer, _ string, _ ...string) error {
				w := tar.NewWriter(out)
				for _, h := range append([]tar.Header{{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}}, entries...) {
					if h.Mode == 0 {
						h.Mode = 0o644
					}
					if err := w.WriteHeader(&h); err != nil {
						return err
					}
				}
				return w.Close()
			}
			got, err := copyOut(t.Context(), run, "./copy", here, noCount())
			if err == nil && len(got.LeftOut) == 0 && what != "a program that runs as its owner's" {
				t.Error("nothing was said of it")
			}
			if text, err := os.ReadFile(filepath.Join(outside, "precious")); err != nil || string(text) != "precious" {
				t.Errorf("%q, %v", text, err)
			}
			err = filepath.WalkDir(here, func(path string, entry fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				if info, err := entry.Info(); err != nil || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeDevice) != 0 {
					t.Errorf("%s: %v, %v", path, info.Mode(), err)
				}
				if to, err := filepath.EvalSymlinks(path); err == nil && !strings.HasPrefix(to, here) {
					t.Errorf("%s leads to %s", path, to)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if err := os.RemoveAll(filepath.Join(here, "copy")); err != nil {
				t.Error(err)
			}
		})
	}
	nothingLeft(t, here)
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 2 {
		t.Errorf("outside are %v, %v", entries, err)
	}
}

func TestWithoutTarACopySaysSo(t *testing.T) {
	bin := t.TempDir()
	h := there{t.TempDir(), bin, "/bin/sh"}
	if _, err := copyOut(t.Context(), h.run, "./x", t.TempDir(), noCount()); err == nil || !strings.Contains(err.Error(), "there is no tar") {
		t.Error(err)
	}
	if _, err := copyIn(t.Context(), h.run, bin, "./", noCount()); err == nil || !strings.Contains(err.Error(), "there is no tar") {
		t.Error(err)
	}
}

// What cannot be read here ends the copy, and is not waited for there.
func TestAFileThatCannotBeReadEndsTheCopy(t *testing.T) {
	everyShell(t, func(t *testing.T, h there) {
		here := t.TempDir()
		if err := errors.Join(os.WriteFile(filepath.Join(here, "a"), []byte("a"), 0o644), os.Symlink("/proc/self/mem", filepath.Join(here, "link"))); err != nil {
			t.Fatal(err)
		}
		if _, err := copyIn(t.Context(), h.run, filepath.Join(here, "none"), "./", noCount()); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		nothingLeft(t, h.dir)
	})
}

func TestPlacesOfACopy(t *testing.T) {
	for arg, want := range map[string]place{
		"12:": {"12", "./"}, "12:a": {"12", "./a"}, "12.7:/a b": {"12.7", "/a b"}, "./12:a": {"", "./12:a"}, "file": {"", "file"}, "a:b": {"", "a:b"}, "12:-x": {"12", "./-x"},
	} {
		if got, err := parsePlace(arg); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", arg, got, err, want)
		}
	}
	for _, arg := range []string{"", "0:a", "1.2.3:a", "12.:a", ".1:a", "12:\x00"} {
		if got, err := parsePlace(arg); err == nil {
			t.Errorf("%q is %+v", arg, got)
		}
	}
}
