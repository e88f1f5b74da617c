package executor

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

// touchFile is a task that writes one file.
func touchFile(t *testing.T, name, text string) func(drivers.Task) {
	return func(task drivers.Task) { writeAs(t, task, name, text) }
}

func writeAs(t *testing.T, task drivers.Task, name, text string) {
	path := filepath.Join(task.WorkDir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Error(err)
	}
	chown(t, task, path)
}

func chown(t *testing.T, task drivers.Task, path string) {
	if task.UID != 0 {
		if err := os.Lchown(path, int(task.UID), int(task.GID)); err != nil {
			t.Error(err)
		}
	}
}

func TestTaskFindsItsInputsScriptAndAFolderOfItsOwn(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "block")
		run.Spec.Script = []byte("#!/bin/sh\n")
		run.Spec.Inputs = []*wire.Input{
			{To: "data/in.txt", Digest: m.cluster.give([]byte("some input of more than one chunk")), Size: 33, Mode: 0o644},
			{To: "tool", Digest: m.cluster.give([]byte("x")), Size: 1, Mode: 0o755},
			{To: "empty", Digest: m.cluster.give(nil), Mode: 0o600},
		}
		m.cluster.order(run)
		m.cluster.await("the task", func() bool { return m.starts(1) == 1 })
		task := m.task(1)
		for name, want := range map[string]string{"data/in.txt": "some input of more than one chunk", "tool": "x", "empty": ""} {
			if got, err := os.ReadFile(filepath.Join(task.WorkDir, name)); err != nil || string(got) != want {
				t.Errorf("%s holds %q, %v", name, got, err)
			}
		}
		for name, want := range map[string]os.FileMode{"": 0o700 | os.ModeDir, "tmp": 0o700 | os.ModeDir, "tool": 0o755, "script": 0o700, "data/in.txt": 0o644} {
			path := filepath.Join(task.WorkDir, name)
			info, err := os.Stat(path)
			if err != nil || info.Mode() != want {
				t.Errorf("%q has mode %v, %v, want %v", name, info.Mode(), err, want)
			}
			if owner := ownerOf(t, path); owner != task.UID && task.UID != 0 {
				t.Errorf("%q belongs to user %d, the task runs as %d", name, owner, task.UID)
			}
		}
		if task.Argv[0] != filepath.Join(task.WorkDir, "script") || task.Argv[1] != "block" {
			t.Errorf("argv is %q, want the script with the arguments", task.Argv)
		}
		if os.Geteuid() == 0 && (task.UID == 0 || task.AllowRoot) {
			t.Error("it would run as root")
		}
	})
}

func TestTaskGetsTheDocumentedEnvironmentAndNothingElse(t *testing.T) {
	onMachine(t, func(m *machine) {
		t.Setenv("SECRET", "ours")
		run := running(1, "block")
		run.Spec.Env = []string{"QUALITY=high", "LANG=de_CH.UTF-8", "COINOP_JOB=forged", "EMPTY="}
		run.Spec.TimeLimitMs = 600_000
		run.FundedUntilUnixMs = 4_102_444_800_000
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		task := m.task(1)
		// 2000-01-01 is when virtual time begins.
		want := []string{
			"COINOP_CPUS=1.5", "COINOP_DEADLINE=946685400", "COINOP_FUNDED_UNTIL=4102444800", "COINOP_JOB=12",
			"COINOP_MEMORY_BYTES=1073741824", "COINOP_NAME=render", "COINOP_NODE=n1",
			"COINOP_NOTICE_FILE=" + filepath.Join(m.folder(1), "notice"), "COINOP_POOL=default", "COINOP_RUN=1", "COINOP_TASK=3",
			"EMPTY=", "HOME=" + task.WorkDir, "LANG=de_CH.UTF-8", "PATH=" + taskPath, "PWD=" + task.WorkDir, "QUALITY=high",
			"TMPDIR=" + task.WorkDir + "/tmp",
		}
		if !slices.Equal(task.Env, want) {
			t.Errorf("the environment is\n%s\nwant\n%s", strings.Join(task.Env, "\n"), strings.Join(want, "\n"))
		}
		if task.CPUMilli != 1500 || task.MemoryBytes != 1<<30 || task.PidsMax == 0 || task.FilesMax == 0 {
			t.Errorf("limits are %+v", task)
		}
	})
}

func TestATaskInAnImageHasItsProgramsAndFindsItsFolderWhereTheDriverPutsIt(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.workDir = "/work" }, func(m *machine) {
		run := running(1, "block")
		run.Spec.Image, run.Spec.Script = "busybox:1", []byte("#!/bin/sh\n")
		m.cluster.order(run)
		m.cluster.awaitEnd(1) // the fake has no scripts
		task := m.task(1)
		if task.Image != "busybox:1" || task.Argv[0] != "/work/script" || task.WorkDir != filepath.Join(m.folder(1), "work") {
			t.Errorf("the task is %+v", task)
		}
		for _, entry := range []string{"HOME=/work", "TMPDIR=/work/tmp", "COINOP_NOTICE_FILE="} {
			if !slices.Contains(task.Env, entry) {
				t.Errorf("%s is not in the environment: %v", entry, task.Env)
			}
		}
		if slices.ContainsFunc(task.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=") || strings.HasPrefix(e, "LANG=") }) {
			t.Errorf("the image's own PATH or LANG is outranked: %v", task.Env)
		}
	})
}

func TestImpossibleInputsAreTheUsersFault(t *testing.T) {
	for _, to := range []string{"../evil", "/etc/passwd", "", ".", "a/../../b", "script/x", "tmp", "a\x00b"} {
		t.Run(to, func(t *testing.T) {
			onMachine(t, func(m *machine) {
				run := running(1, "block")
				run.Spec.Script = []byte("#!/bin/sh\n")
				run.Spec.Inputs = []*wire.Input{{To: to, Digest: m.cluster.give([]byte("x")), Size: 1, Mode: 0o644}}
				m.cluster.order(run)
				expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_START_FAILED, codeNotExecutable)
			})
		})
	}
}

func TestInputThatNoServerHasIsOurFault(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "block")
		run.Spec.Inputs = []*wire.Input{{To: "x", Digest: make([]byte, 32), Size: 1, Mode: 0o644}}
		m.cluster.order(run)
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, codeOurs)
	})
}

func TestRunThatIsStoppedWhileItsInputsAreOnTheWayEnds(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "block")
		run.Spec.Inputs = []*wire.Input{{To: "x", Digest: m.cluster.give([]byte("x")), Size: 1, Mode: 0o644}}
		m.cluster.change(func() { m.cluster.hang = true })
		m.cluster.order(run)
		m.wait(time.Second)
		m.cluster.order(but(run, func(o *wire.Order) { o.Want = wire.Want_WANT_STOP }))
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_STOPPED, codeOurs)
	})
}

func TestInputIsFetchedOnceAndCheckedEachTime(t *testing.T) {
	onMachine(t, func(m *machine) {
		input := &wire.Input{To: "in", Digest: m.cluster.give([]byte("twelve bytes")), Size: 12, Mode: 0o644}
		use := func(run uint64) {
			order := running(run, "exit", "0")
			order.Spec.Inputs = []*wire.Input{input}
			m.cluster.order(order)
			expectEnd(t, m.cluster.awaitEnd(run), wire.Cause_CAUSE_EXITED, 0)
			if b, err := os.ReadFile(filepath.Join(m.folder(run), workDir, "in")); err != nil || string(b) != "twelve bytes" {
				t.Errorf("run %d has %q, %v", run, b, err)
			}
		}
		use(1)
		use(2)
		m.restart()
		use(3)
		if n := m.cluster.fetched(); n != 1 {
			t.Errorf("it was fetched %d times", n)
		}
		d, _ := digestOf(input.GetDigest())
		if err := os.WriteFile(filepath.Join(m.config.Dir, "store", d.String()), []byte("rotten bytes"), 0o600); err != nil {
			t.Fatal(err)
		}
		use(4)
		if n := m.cluster.fetched(); n != 2 {
			t.Errorf("rotten bytes in the store: fetched %d times in all, want 2", n)
		}
	})
}

func TestStoreKeepsItsSize(t *testing.T) {
	s := newStore(t.TempDir(), 10)
	fetches := 0
	fetch := func(_ context.Context, _ digest, _ int64, w io.Writer) error {
		fetches++
		_, err := io.WriteString(w, "12345678")
		return err
	}
	good := digest{0xef, 0x79, 0x7c, 0x81, 0x18, 0xf0, 0x2d, 0xfb, 0x64, 0x96, 0x07, 0xdd, 0x5d, 0x3f, 0x8c, 0x76,
		0x23, 0x04, 0x8c, 0x9c, 0x06, 0x3d, 0x53, 0x2c, 0xc9, 0x5c, 0x5e, 0xd7, 0xa8, 0x98, 0xa6, 0x4f}
	get := func(d digest, size int64) error {
		f, err := s.get(t.Context(), d, size, fetch)
		if err == nil {
			err = f.Close()
		}
		return err
	}
	if err := get(good, 8); err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]struct {
		d    digest
		size int64
	}{"other bytes": {digest{1}, 8}, "too many": {digest{2}, 7}, "too few": {digest{3}, 9}} {
		if err := get(wrong.d, wrong.size); !errors.Is(err, errRotten) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if fetches != 4 || s.total != 8 {
		t.Errorf("%d fetches, %d bytes kept; want 4 and 8", fetches, s.total)
	}
	s = newStore(s.dir, 7)
	if err := s.open(); err != nil || s.total != 0 {
		t.Errorf("after a restart with less room %d bytes are counted, %v", s.total, err)
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 0 {
		t.Errorf("the store still holds %v, %v", left, err)
	}
}

func TestOutputsNeverLeaveTheFolder(t *testing.T) {
	onMachine(t, func(m *machine) {
		secret := filepath.Join(m.config.Dir, "secret.txt")
		m.touch = func(task drivers.Task) {
			if err := os.WriteFile(secret, []byte("ours"), 0o600); err != nil {
				t.Error(err)
			}
			writeAs(t, task, "out/a.txt", "A")
			writeAs(t, task, "out/deep/b.txt", "BB")
			writeAs(t, task, "odd/new\nline.txt", "x")
			writeAs(t, task, "odd/not\xfftext.txt", "x")
			writeAs(t, task, "odd/-rf *.txt", "ok")
			writeAs(t, task, "odd/large.txt", strings.Repeat("x", 2000))
			for name, target := range map[string]string{
				"odd/abs.txt": secret, "odd/up.txt": "../../../../secret.txt", "odd/inside.txt": "../out/a.txt", "odd/loop.txt": "loop.txt", "dir": m.config.Dir,
			} {
				if err := os.Symlink(target, filepath.Join(task.WorkDir, name)); err != nil {
					t.Error(err)
				}
			}
			if os.Geteuid() == 0 {
				if err := os.Link(secret, filepath.Join(task.WorkDir, "odd/hard.txt")); err != nil {
					t.Error(err)
				}
			}
			pipe := filepath.Join(task.WorkDir, "odd/pipe.txt")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Error(err)
			}
			chown(t, task, pipe)
		}
		run := running(1, "exit", "0")
		run.Spec.Outputs = []string{"out", "odd/*.txt", "../*", "/etc/passwd", "dir/*", "none*", "[", "out/a.txt"}
		run.Spec.OutputBytesMax = 1000
		m.cluster.order(run)
		end := m.cluster.awaitEnd(1).GetEnd()
		var names []string
		for _, f := range end.GetOutputs() {
			names = append(names, f.GetName())
			d, _ := digestOf(f.GetDigest())
			if b := locked(m.cluster, func() []byte { return m.cluster.blobs[d] }); int64(len(b)) != f.GetSize() || string(b) == "ours" {
				t.Errorf("%s was stored as %q", f.GetName(), b)
			}
		}
		if want := []string{"odd/-rf *.txt", "odd/inside.txt", "out/a.txt", "out/deep/b.txt"}; !slices.Equal(names, want) {
			t.Errorf("outputs are %q, want %q", names, want)
		}
		notes := strings.Join(end.GetNotes(), "\n")
		for _, want := range []string{"abs.txt", "up.txt", "loop.txt", "pipe.txt", "large.txt", `new\nline`, `not\xfftext`, "none*", `"["`, `"../*"`} {
			if !strings.Contains(notes, want) {
				t.Errorf("no note about %s in\n%s", want, notes)
			}
		}
		if mode := end.GetOutputs()[0].GetMode(); mode != 0o640 {
			t.Errorf("mode is %o", mode)
		}
	})
}

func TestTooManyOutputsAreCutOff(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	o := &outputs{root: root, uid: uint32(os.Geteuid()), most: 3}
	for _, name := range o.match([]string{"*"}) {
		if err := o.take(t.Context(), nil, name); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.files) != 3 || len(o.notes) == 0 {
		t.Errorf("%d files were taken, notes %q", len(o.files), o.notes)
	}
	for range 2 * notesMax {
		o.note("again")
	}
	if len(o.notes) != notesMax || o.more == 0 {
		t.Errorf("%d notes were kept, %d left out", len(o.notes), o.more)
	}
}
