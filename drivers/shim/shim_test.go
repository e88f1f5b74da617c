package shim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What is checked in is what the sources give. Another compiler gives other bytes, so only the one noted is compared.
func TestBuildIsReproducible(t *testing.T) {
	out := t.TempDir()
	build := exec.Command("sh", "c/build.sh", out)
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	compared := 0
	for _, arch := range []string{"amd64", "arm64"} {
		noted, err := os.ReadFile("bin/COMPILER_" + arch)
		if err != nil {
			t.Fatal(err)
		}
		here, err := os.ReadFile(filepath.Join(out, "COMPILER_"+arch))
		if err != nil || !bytes.Equal(here, noted) {
			t.Logf("%s was built by %s and not compared here", arch, strings.TrimSpace(string(noted)))
			continue
		}
		built, err := os.ReadFile(filepath.Join(out, "shim_linux_"+arch))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile("bin/shim_linux_" + arch)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(built, kept) {
			t.Errorf("bin/shim_linux_%s is not what c/ gives: run c/build.sh", arch)
		}
		compared++
	}
	if compared == 0 {
		t.Skip("no compiler that built any of them is here")
	}
}

func TestInstallReplacesAnother(t *testing.T) {
	dir := t.TempDir()
	path, err := Install(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("an older shim"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Install(dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d files in its folder, %v", len(entries), err)
	}
}

// The record as C writes it, read by Go, written by Go, is the same record.
func TestRecordRoundTrip(t *testing.T) {
	program, err := Install(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	record := filepath.Join(dir, "task")
	pid, err := Start(program, Spec{
		Record: record, LogDir: dir, WorkDir: "/", Argv: []string{"/bin/sh", "-c", "exit 7"}, LogHeadBytes: 1, LogTailBytes: 1, Missing: 5,
	}, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := process.Wait(); err != nil {
		t.Fatal(err)
	}
	if alive, err := Alive(record); alive || err != nil {
		t.Errorf("alive %v, %v", alive, err)
	}
	r, err := ReadExit(record)
	if err != nil {
		t.Fatal(err)
	}
	if r.State != Exited || r.Code != 7 || r.Cause != ExitedItself || r.Missing != 5 || r.ShimPid != int32(pid) || r.Started >= r.Ended {
		t.Errorf("record %+v", r)
	}
	r.Spans = append(r.Spans, Span{From: 1, To: 2, Cause: FrozenByLease}, Span{From: 3, Cause: FrozenByControl})
	if err := WriteExit(record, dir, r); err != nil {
		t.Fatal(err)
	}
	again, err := ReadExit(record)
	r.SpanCount = 2
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Errorf("wrote %+v, read %+v, %v", r, again, err)
	}
}

// A half-written, cut or foreign file is no record.
func TestRecordIsChecked(t *testing.T) {
	dir := t.TempDir()
	record := filepath.Join(dir, "task")
	if err := WriteExit(record, dir, Record{State: Lost, Spans: []Span{{From: 1, To: 2}}}); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(record + exitEnding)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := LogDir(record); got != dir || err != nil {
		t.Errorf("its folder is %q, %v", got, err)
	}
	good = good[:headerBytes+spanBytes]
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 0x40
		for _, data := range [][]byte{bad, good[:at]} {
			if _, err := decodeRecord(data); err == nil {
				t.Fatalf("byte %d of %d was changed or cut and nobody noticed", at, len(good))
			}
		}
	}
	if _, err := ReadRecord(filepath.Join(dir, "none")); !errors.Is(err, ErrNoRecord) {
		t.Error(err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	dir := f.TempDir()
	record := filepath.Join(dir, "task")
	if err := WriteExit(record, dir, Record{State: Exited, Spans: []Span{{From: 1, To: 2}}}); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(record + exitEnding)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := decodeRecord(data); err == nil && len(r.Spans) != int(r.SpanCount) {
			t.Errorf("%d spans of %d", len(r.Spans), r.SpanCount)
		}
	})
}

func TestNobodyListens(t *testing.T) {
	dir := t.TempDir()
	record := filepath.Join(dir, "task")
	if err := WriteExit(record, dir, Record{State: Exited}); err != nil {
		t.Fatal(err)
	}
	// This process is not that task's shim, and lives to tell.
	if err := Send(record, os.Getpid(), Message{Kind: CommandKill}); !errors.Is(err, ErrNoShim) {
		t.Errorf("%v", err)
	}
}

func TestLeaseFile(t *testing.T) {
	record := filepath.Join(t.TempDir(), "task")
	if err := os.WriteFile(record, binary.NativeEndian.AppendUint64(make([]byte, leaseAt), 42), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, until := range []int64{42, 1, 1 << 60} { // the first is what Start was told
		if until != 42 {
			if err := WriteLease(record, until); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := ReadLease(record); got != until || err != nil {
			t.Errorf("%d, %v, want %d", got, err, until)
		}
	}
}

// Who loses its status file is found by nobody any more, and ends by itself; also a task whose lease has lapsed.
func TestAForgottenTaskEnds(t *testing.T) {
	program, err := Install(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	record := filepath.Join(dir, "task")
	mark := "FORGOTTEN=" + dir
	pid, err := Start(program, Spec{
		Record: record, LogDir: dir, WorkDir: "/", Argv: []string{"/bin/sh", "-c", "sleep 1000 & sleep 1000"}, Env: []string{mark},
		LeaseUntil: Boottime() + int64(300*time.Millisecond),
	}, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	impatient := time.AfterFunc(time.Minute, func() { _ = process.Kill() }) // its own child
	if state, err := process.Wait(); err != nil || !state.Success() {
		t.Errorf("its shim ended as %v, %v", state, err)
	}
	impatient.Stop()
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range environments {
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, []byte(mark)) {
			t.Errorf("%s is left", filepath.Dir(file))
		}
	}
}

// A status file made of another task's knows nothing of that one.
func TestStatusFileOfASpare(t *testing.T) {
	program, err := Install(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(name, logDir, spare, command string) Record {
		t.Helper()
		record := filepath.Join(dir, name)
		pid, err := Start(program, Spec{
			Record: record, Spare: spare, LogDir: logDir, WorkDir: "/", Argv: []string{"/bin/sh", "-c", command},
		}, func() error {
			if r, err := ReadRecord(record); !errors.Is(err, ErrNoRecord) {
				t.Errorf("before %s has a shim its record is %+v, %v", name, r, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		process, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := process.Wait(); err != nil {
			t.Fatal(err)
		}
		r, err := ReadExit(record)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := LogDir(record); got != logDir || err != nil {
			t.Errorf("the logs of %s are in %q, %v", name, got, err)
		}
		return r
	}
	spare := filepath.Join(dir, "spare")
	run("one", filepath.Join(dir, "a-rather-long-name"), "", "exit 7")
	if err := Remove(filepath.Join(dir, "one"), dir, spare); err != nil {
		t.Fatal(err)
	}
	if names, err := Names(dir); err != nil || !reflect.DeepEqual(names, []string{"spare"}) {
		t.Errorf("left are %q, %v", names, err)
	}
	if r := run("two", dir, spare, "exit 3"); r.Code != 3 {
		t.Errorf("record %+v", r)
	}
	if r := run("three", dir, spare, "exit 4"); r.Code != 4 { // the spare is used up
		t.Errorf("record %+v", r)
	}
}
