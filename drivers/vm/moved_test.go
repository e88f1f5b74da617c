//go:build e2e

package vm_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/vm"
	"github.com/coinop/coinop/drivers/vm/export"
)

// forge changes QEMU's state in what was exported, and makes the rest right again.
func forge(t *testing.T, from, to string, state func([]byte) []byte) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := export.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Drop()
	var files []*os.File
	for range 3 {
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := r.File(file, 1<<40); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	data, err := os.ReadFile(files[0].Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0].Name(), state(data), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := export.Write(out, r.Head, files...); err != nil {
		t.Fatal(err)
	}
}

func control(t *testing.T, d drivers.Driver, id string, c drivers.Control) {
	t.Helper()
	if err := d.Control(t.Context(), id, c); err != nil {
		t.Fatal(err)
	}
}

// say runs a command beside a task's own, and returns what it said.
func say(t *testing.T, d drivers.Driver, id, script string) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := d.Exec(t.Context(), id, drivers.ExecRequest{Argv: []string{"/bin/sh", "-c", script}}, drivers.ExecStreams{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A machine that goes on elsewhere leaves the commands behind whose callers are gone; and a state with which QEMU cannot go on is a failure of the
// machine, with what QEMU said.
func TestAMachineMoves(t *testing.T) {
	h := newHarness(t, vm.Config{})
	here, there := h.Driver(), h.Elsewhere()
	start := func(d drivers.Driver, id, from string) {
		t.Helper()
		folder, err := h.Folder()
		if err != nil {
			t.Fatal(err)
		}
		task := drivers.Task{
			ID: id, Dir: filepath.Join(folder, "driver"), WorkDir: filepath.Join(folder, "work"), UID: h.UID, GID: h.GID, Image: h.Image,
			Argv: []string{"sleep", "1000"}, Env: []string{"PATH=/bin"}, From: from, MemoryBytes: 64 << 20, DiskBytes: 64 << 20,
		}
		if err := os.Mkdir(task.WorkDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Start(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Remove(context.WithoutCancel(t.Context()), id); err != nil {
				t.Error(err)
			}
		})
	}
	start(here, "a", "")
	lost := make(chan error, 1)
	go func() {
		_, err := here.Exec(t.Context(), "a", drivers.ExecRequest{Argv: []string{"sleep", "4321"}}, drivers.ExecStreams{})
		lost <- err
	}()
	until := time.Now().Add(time.Minute)
	for !strings.Contains(say(t, here, "a", "ps"), "sleep 4321") && time.Now().Before(until) {
	}
	path := filepath.Join(t.TempDir(), "export")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	control(t, here, "a", drivers.Control{Kind: drivers.Suspend})
	control(t, here, "a", drivers.Control{Kind: drivers.Export, File: path})
	if err := here.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := <-lost; err != nil {
		t.Errorf("the command whose machine is gone: %v", err)
	}
	start(there, "b", path)
	until = time.Now().Add(time.Minute)
	for strings.Contains(say(t, there, "b", "ps"), "sleep 4321") {
		if time.Now().After(until) {
			t.Fatal("what nobody waits for runs on")
		}
	}
	if all := say(t, there, "b", "ps"); !strings.Contains(all, "sleep 1000") {
		t.Errorf("the task's own command is not among %s", all)
	}
	for id, state := range map[string]func([]byte) []byte{
		"half": func(data []byte) []byte { return data[:len(data)/2] },
		"none": func([]byte) []byte { return nil },
		"junk": func(data []byte) []byte { return bytes.Repeat([]byte("junk"), len(data)/4) },
	} {
		forged := filepath.Join(t.TempDir(), "export")
		forge(t, path, forged, state)
		start(there, id, forged)
		statuses, err := there.Watch(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var last drivers.Status
		for last = range statuses {
		}
		if last.Exit.Code != 125 || last.Exit.Cause != drivers.CauseStartFailed || !strings.Contains(last.Exit.Message, "go on from where it was suspended") {
			t.Errorf("with %s of its state it ended as %+v", id, last.Exit)
		}
		t.Log(last.Exit.Message)
	}
}
