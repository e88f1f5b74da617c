package unpack

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What GNU tar packs, in each of its forms, is unpacked as GNU tar unpacks it.
func TestAsGNUTarDoes(t *testing.T) {
	needRoot(t)
	gnu, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("no tar here")
	}
	if out, err := exec.Command(gnu, "--version").Output(); err != nil || !strings.Contains(string(out), "GNU tar") {
		t.Skip("tar is not GNU tar")
	}
	from := t.TempDir()
	tree(t, from)
	for _, form := range []string{"gnu", "oldgnu", "pax", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix --sparse-version=1.0"} {
		t.Run(form, func(t *testing.T) {
			args := append([]string{"-C", from, "--sparse", "--xattrs", "--xattrs-include=*", "-cf", "-", "--format=" + strings.Fields(form)[0]}, strings.Fields(form)[1:]...)
			if !strings.HasPrefix(form, "p") {
				args = append([]string{"-C", from, "--sparse", "-cf", "-"}, "--format="+form)
			}
			pack := exec.Command(gnu, append(args, ".")...)
			var packed, said bytes.Buffer
			pack.Stdout, pack.Stderr = &packed, &said
			if err := pack.Run(); err != nil {
				t.Fatal(err, said.String())
			}
			limits := small
			limits.Bytes = 1 << 30
			dir, _, err := unpackTo(t, packed.Bytes(), limits)
			if err != nil {
				t.Fatal(err)
			}
			want := t.TempDir()
			unpack := exec.Command(gnu, "-C", want, "--xattrs", "--xattrs-include=*", "-xpf", "-")
			unpack.Stdin, unpack.Stderr = &packed, &said
			if err := unpack.Run(); err != nil {
				t.Fatal(err, said.String())
			}
			if diff := cmp.Diff(listing(t, want), listing(t, dir)); diff != "" {
				t.Error(diff)
			}
			info, err := os.Stat(filepath.Join(dir, "sparse"))
			if err != nil {
				t.Fatal(err)
			}
			if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 8<<20 {
				t.Errorf("a file with holes takes %d bytes on disk", used)
			}
			if form[0] == 'p' {
				for _, name := range []string{"user.colour", "security.capability"} {
					ours, err := attributeOf(filepath.Join(dir, "capable"), name)
					theirs, _ := attributeOf(filepath.Join(want, "capable"), name)
					if err != nil || ours != theirs {
						t.Errorf("%s is %q, %v; tar has %q", name, ours, err, theirs)
					}
				}
			}
		})
	}
}

func tree(t *testing.T, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	long := filepath.Join(dir, strings.Repeat("long", 40), strings.Repeat("name", 50))
	must(os.MkdirAll(long, 0o750))
	must(os.WriteFile(filepath.Join(long, strings.Repeat("file", 60)), []byte("far"), 0o644))
	must(os.Symlink(strings.Repeat("../target/", 40), filepath.Join(dir, "longlink")))
	must(os.WriteFile(filepath.Join(dir, "set"), []byte("id"), 0o644))
	must(os.Chown(filepath.Join(dir, "set"), 2_000_000, 2_000_001))
	must(os.Chmod(filepath.Join(dir, "set"), 0o755|os.ModeSetuid|os.ModeSetgid))
	must(os.Link(filepath.Join(dir, "set"), filepath.Join(dir, "zweiter")))
	must(unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "capable"), nil, 0o755))
	must(unix.Setxattr(filepath.Join(dir, "capable"), "security.capability", []byte(capability), 0))
	must(unix.Setxattr(filepath.Join(dir, "capable"), "user.colour", []byte("blue"), 0))
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	must(err)
	for _, at := range []int64{0, 20 << 20, 63 << 20} {
		_, err = sparse.WriteAt([]byte("island"), at)
		must(err)
	}
	must(sparse.Truncate(64 << 20))
	must(sparse.Close())
}
