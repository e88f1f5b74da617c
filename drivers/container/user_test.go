package container

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container/image/source"
)

func TestUsersOfAContainerAreMappedOnce(t *testing.T) {
	for _, c := range []struct {
		inside uint32
		want   string
	}{
		{0, "0 998 1\n1 1879048193 65535\n"},
		{1000, "0 1879048192 1000\n1000 998 1\n1001 1879049193 64535\n"},
		{65535, "0 1879048192 65535\n65535 998 1\n"},
	} {
		m := newIDMap(c.inside, 998)
		if got := m.text(); got != c.want {
			t.Errorf("user %d: %q, want %q", c.inside, got, c.want)
		}
		seen := map[uint32]bool{}
		for id := range uint32(ids) {
			if out := m.outside(id); seen[out] || out == 0 {
				t.Fatalf("user %d: %d is %d outside, as another is, or root", c.inside, id, out)
			} else {
				seen[out] = true
			}
		}
	}
}

// layers are folders of a few files.
func layers(t *testing.T, files ...map[string]string) (all []string) {
	t.Helper()
	for _, layer := range files {
		dir := t.TempDir()
		for name, text := range layer {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, dir)
	}
	return all
}

func TestTheImagesUserIsFoundInItsOwnLists(t *testing.T) {
	all := layers(t,
		map[string]string{"etc/passwd": "old:x:7:7::/:/bin/sh\n", "etc/group": "staff:x:50:\n"},
		map[string]string{"etc/passwd": "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\nhuge:x:70000:1::/:/bin/sh\nshort:x\n"})
	for name, want := range map[string]user{
		"": {}, "root": {}, "app": {1000, 1001}, "1000": {1000, 1001}, "app:staff": {1000, 50}, "app:9": {1000, 9}, "4000": {4000, 0}, "4000:5": {4000, 5},
	} {
		if got, err := findUser(Image{Layers: all, User: name}); err != nil || got != want {
			t.Errorf("%q is %+v, %v, want %+v", name, got, err, want)
		}
	}
	for _, name := range []string{"old", "nobody", "huge", "short", "70000", "-1", "app:none", "app:70000"} {
		if got, err := findUser(Image{Layers: all, User: name}); !errors.Is(err, drivers.ErrInvalid) {
			t.Errorf("%q is %+v, %v", name, got, err)
		}
	}
}

// A list may be anything: a link out of the image, a pipe, a folder, hidden by a layer above.
func TestListsOfUsersLeadNowhere(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(outside, []byte("app:x:1:1::/:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, make := range map[string]func(path string) error{
		"a link":       func(path string) error { return os.Symlink(outside, path) },
		"a relative":   func(path string) error { return os.Symlink("../../../../../../../.."+outside, path) },
		"a pipe":       func(path string) error { return unix.Mkfifo(path, 0o644) },
		"a folder":     func(path string) error { return os.Mkdir(path, 0o755) },
		"a link to it": func(path string) error { return os.Symlink("passwd", path) },
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := make(filepath.Join(dir, "etc", "passwd")); err != nil {
			t.Fatal(err)
		}
		if got, err := findUser(Image{Layers: []string{dir}, User: "app"}); !errors.Is(err, drivers.ErrInvalid) {
			t.Errorf("%s: the user is %+v, %v", what, got, err)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	all := layers(t, map[string]string{"etc/passwd": "app:x:1:1::/:/bin/sh\n"}, map[string]string{"etc/x": ""})
	if err := unix.Mknod(filepath.Join(all[1], "etc", "passwd"), unix.S_IFCHR, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := findUser(Image{Layers: all, User: "app"}); !errors.Is(err, drivers.ErrInvalid) {
		t.Errorf("behind a whiteout the user is %+v, %v", got, err)
	}
}

func TestWhatLiesOnTheMachineIsNotForStrangers(t *testing.T) {
	for _, ref := range []string{"/etc/image.tar", "127.0.0.1:5000/app:1", "localhost:5000/app:1", "no reference!", "x.sif"} {
		if _, err := (Registry{Auth: source.Auth{}}).Hold(t.Context(), ref, "task"); !errors.Is(err, drivers.ErrInvalid) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestATasksVariablesOutrankItsImages(t *testing.T) {
	got := environment([]string{"PATH=/image", "A=1", "B=2"}, []string{"A=own", "C=3", "PATH="})
	want := []string{"B=2", "A=own", "C=3", "PATH="}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
