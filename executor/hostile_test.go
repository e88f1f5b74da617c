package executor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coinop/coinop/executor/wire"
)

// hostile leaves as its outputs whatever might lead its collector astray.
const hostile = `mkdir out; cd out; echo good >fine; umask 0
ln -s /etc/shadow shadow; ln -s ../../../2/work/secret other; ln -s / root; ln -s .. up; ln -s loop loop
ln /etc/passwd hard; ln ../../journal journal; mkfifo pipe; echo x >"$(printf 'new\nline')"; echo x >"$(printf 'esc\033[2J')"; echo x >"$(printf 'no\377text')"
echo x >"$(head -c 255 /dev/zero | tr '\0' n)"
perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("socket"))'
mkdir locked; echo x >locked/x; chmod 0 locked
mkdir ../pit; cd ../pit; perl -e 'while ($n++ < 25000 && mkdir "d") { chdir "d" }'; exit 0`

func TestHostileOutputsAreHarmless(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it needs root: a task of its own user")
	}
	c := newCluster(t)
	dir := t.TempDir()
	onRealMachine(t, c, dir, func(func()) {
		victim := shell(2, `echo secret >secret; chmod 600 secret; echo ready; sleep 1000`)
		c.order(victim)
		c.awaitState(2, wire.RunState_RUN_STATE_RUNNING)
		c.awaitPrinted(t, 2)
		run := shell(1, hostile)
		run.Spec.Outputs = []string{"out", "out/*", "pit", "../*", "../../2/work/*", "/etc/*", "out/root/etc/pass*", "out/up/*", "*/secret"}
		c.order(run)
		end := c.awaitEnd(1).GetEnd()
		var names []string
		for _, f := range end.GetOutputs() {
			names = append(names, f.GetName())
			d, _ := digestOf(f.GetDigest())
			if b := locked(c, func() []byte { return c.blobs[d] }); string(b) != "x\n" && string(b) != "good\n" {
				t.Errorf("%q holds %.100q", f.GetName(), b)
			}
		}
		// "up" leads to the work folder itself, which is the task's own.
		for _, name := range names {
			if name != "out/fine" && name != "out/locked/x" && name != "out/"+strings.Repeat("n", 255) && !strings.HasPrefix(name, "out/up/") {
				t.Errorf("%q was taken", name)
			}
		}
		if !slices.Contains(names, "out/fine") {
			t.Errorf("the good output is not among %q", names)
		}
		notes := strings.Join(end.GetNotes(), "\n")
		if strings.Contains(notes, "\x1b") || !utf8.ValidString(notes) || len(notes) > 2*notesMax*noteBytesMax {
			t.Errorf("notes are %.500q", notes)
		}
		c.forget(1)
		c.forget(2)
		for deadline := time.Now().Add(time.Minute); ; {
			left, err := os.ReadDir(filepath.Join(dir, "executor", "runs"))
			if err == nil && len(left) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("left are %v, %v", left, err)
			}
		}
	})
}

// A folder nested deeper than this process may open files goes all the same.
func TestRemoveAllIsNotTooShallow(t *testing.T) {
	top := filepath.Join(t.TempDir(), "top")
	for _, branch := range []string{"a", "b"} {
		at := filepath.Join(top, branch)
		for range 5 { // each as deep as a path can be said
			if err := os.MkdirAll(at+strings.Repeat("/d", 600), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at+"/file", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(at, at+"2"); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(at+strings.Repeat("/d", 600), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(at+"2", at+strings.Repeat("/d", 600)+"/d"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := flatten(top); err != nil {
		t.Fatal(err)
	}
	deepest := 0
	err := filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		deepest = max(deepest, strings.Count(strings.TrimPrefix(path, top), "/"))
		return err
	})
	if err != nil || deepest > removeDeepest+3 {
		t.Errorf("it is still %d deep, %v", deepest, err)
	}
	if err := removeAll(top); err != nil {
		t.Error(err)
	}
}
