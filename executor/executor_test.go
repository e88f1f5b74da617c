package executor

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/fake"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	good := func() Config {
		return Config{
			Dir: "/x", Name: "n1", Drivers: map[string]drivers.Driver{"fake": fake.New(fake.Config{})}, Servers: []string{"a:1"},
			Dial: func(context.Context, string) (net.Conn, error) { return nil, os.ErrClosed },
		}
	}
	if _, err := New(good()); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"absolute path":     func(c *Config) { c.Dir = "x" },
		"node name":         func(c *Config) { c.Name = "Node 1" },
		"no driver":         func(c *Config) { c.Drivers = nil },
		"no server":         func(c *Config) { c.Servers = nil },
		"connect to":        func(c *Config) { c.Dial = nil },
		"less than nothing": func(c *Config) { c.CPUMilli = -1 },
		"no text":           func(c *Config) { c.Labels = map[string]string{"a": "\xff"} },
	} {
		c := good()
		spoil(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

func TestMissingUserIsReplacedAndSaid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("without root there is no choice of user")
	}
	var u users
	got, err := u.find("no-such-user", "nobody")
	if err != nil || got.name != "nobody" || got.uid == 0 || !strings.Contains(got.why, "no-such-user") {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = u.find("", "nobody")
	if err != nil || got.name != "nobody" || got.why != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := u.find("root", "nobody"); err != nil || got.uid == 0 {
		t.Errorf("root is taken: %+v, %v", got, err)
	}
}

func TestFolderThatTasksCannotEnterIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("without root tasks run as their executor")
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.MkdirAll(filepath.Join(closed, "runs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	err := new(users).reach(filepath.Join(closed, "runs"), "nobody")
	if err == nil || !strings.Contains(err.Error(), "chmod o+x "+closed) {
		t.Errorf("got %v", err)
	}
}

func TestFolderMadeWithAStrictMaskIsOpenedForPassing(t *testing.T) {
	l := layout{filepath.Join(t.TempDir(), "strict")}
	if err := os.Mkdir(l.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	want := map[string]fs.FileMode{l.dir: 0o711, l.runs(): 0o711, l.store(): 0o700}
	if os.Geteuid() != 0 {
		want[l.dir] = 0o700
	}
	for path, mode := range want {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode(), err, mode)
		}
	}
}

func TestUnreadableFoldersOfTasksAreRemovedToo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "work")
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "a", "b"), filepath.Join(dir, "a")} {
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeAll(dir); err != nil {
		t.Error(err)
	}
}

func TestTaskNamesGoBothWays(t *testing.T) {
	name := taskName("01J-ABC/def_ghijklmnop", 42)
	if name != "c01JABCdefghi-42" {
		t.Errorf("the task is named %q", name)
	}
	if id, ok := runOfTask(name); !ok || id != 42 {
		t.Errorf("it is run %d, %v", id, ok)
	}
	for _, other := range []string{"", "x", "x-", "x-y"} {
		if _, ok := runOfTask(other); ok {
			t.Errorf("%q counts as one of ours", other)
		}
	}
}

func TestThousandths(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1000: "1", 1500: "1.5", 250: "0.25", 1: "0.001"} {
		if got := thousandths(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestPlainTextCanAlwaysBeSent(t *testing.T) {
	if got := plainText("a\xffb"); got != "a\uFFFDb" {
		t.Errorf("got %q", got)
	}
	if got := plainText(strings.Repeat("é", 400)); len(got) > 510 || strings.Contains(got, "\xc3.") {
		t.Errorf("got %q", got)
	}
}
