package monitor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/vm/guest"
)

// machine is a line to a machine in which anything may be running: what is written to it comes out of the machine.
func machine(t *testing.T) (*line, *os.File) {
	t.Helper()
	mine, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mine.Close(); theirs.Close() })
	l := newLine()
	l.join(&qemu{guest: mine})
	return l, theirs
}

func TestAMachineThatTalksNonsenseIsNotHeard(t *testing.T) {
	frames := func(f guest.Frame, n int) []byte {
		var b bytes.Buffer
		for range n {
			if err := guest.Write(&b, f); err != nil {
				t.Fatal(err)
			}
		}
		return b.Bytes()
	}
	for what, said := range map[string][]byte{
		"garbage":                      bytes.Repeat([]byte("garbage "), 1000),
		"a frame of four gigabytes":    binary.LittleEndian.AppendUint32(nil, 1<<32-1),
		"more than there is room for":  frames(guest.Frame{Channel: mainChannel, Kind: guest.TellOut, Data: []byte("x")}, framesMax+1),
		"room that is no number":       frames(guest.Frame{Channel: mainChannel, Kind: guest.TellCredit, Data: []byte("x")}, 1),
		"a thousand ends without room": frames(guest.Frame{Channel: mainChannel, Kind: guest.TellExit}, framesMax+1),
	} {
		l, from := machine(t)
		if _, err := l.open(mainChannel); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = from.Write(append(said, make([]byte, 8)...)) // it is closed under us
		}()
		heard := make(chan error, 1)
		go func() { heard <- l.take() }()
		select {
		case err := <-heard:
			if err == nil || errors.Is(err, io.EOF) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: it is listened to for ever", what)
		}
	}
}

// Answers of every kind that are none end the task, and nothing else.
func TestWordsOfAMachineAreRead(t *testing.T) {
	m := &monitor{}
	var status syscall.WaitStatus
	for _, data := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte{0xff}, 64), make([]byte, 63)} {
		if err := m.ended(data, &status); err == nil {
			t.Errorf("%q is an end with %v", data, status)
		}
	}
	// That it never began costs nothing, and is too late when it has.
	late := append(binary.LittleEndian.AppendUint32(nil, uint32(syscall.ENOENT)), make([]byte, 60)...)
	copy(late[8:], shim.StepExecute)
	var own *failure
	if err := m.ended(late, &status); err == nil || errors.As(err, &own) {
		t.Errorf("after it had run a command could not be started: %v", err)
	}
	if err := m.refused(late); !errors.As(err, &own) {
		t.Errorf("before it had run a command could not be started: %v", err)
	}
	for _, data := range [][]byte{nil, make([]byte, 23), make([]byte, 25)} {
		if m.used(data) == nil {
			t.Errorf("%d bytes are a use", len(data))
		}
	}
	if got := printable("a\x1b[31m\n\xff" + strings.Repeat("x", 1000)); strings.ContainsAny(got, "\x1b\n") || len(got) > 500 {
		t.Errorf("%q", got)
	}
}

// A machine gives what it likes, and all of it stays in the work folder.
func TestWhatAMachineGivesStaysInTheWorkFolder(t *testing.T) {
	outside, work := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "file"), []byte("ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(work)
	entry := func(kind guest.EntryType, path, says string) guest.Frame {
		return guest.Frame{Kind: guest.TellEntry, Data: guest.Entry{Type: kind, Mode: 0o4777, Path: path, Says: says}.Encode()}
	}
	bytesOf := func(text string) guest.Frame { return guest.Frame{Kind: guest.TellOut, Data: []byte(text)} }
	for what, frames := range map[string][]guest.Frame{
		"a link's way out":           {entry(guest.Link, "out", outside), entry(guest.Plain, "out/file", ""), bytesOf("theirs")},
		"a link to a file":           {entry(guest.Link, "a", filepath.Join(outside, "file")), entry(guest.Plain, "a", ""), bytesOf("theirs")},
		"a link that climbs":         {entry(guest.Link, "up", "../../../../../../../../.."+outside), entry(guest.Folder, "up/new", "")},
		"a folder that was a link":   {entry(guest.Link, "f", outside), entry(guest.Folder, "f", ""), entry(guest.Plain, "f/file", ""), bytesOf("theirs")},
		"its own absolute":           {entry(guest.Plain, outside+"/file", ""), bytesOf("theirs")},
		"one above":                  {entry(guest.Plain, "../file", "")},
		"bytes before any entry":     {bytesOf("theirs")},
		"a kind that is not known":   {{Kind: 77}},
		"a file that becomes a tree": {entry(guest.Plain, "t", ""), entry(guest.Plain, "t/x", "")},
	} {
		root, err := os.OpenRoot(".")
		if err != nil {
			t.Fatal(err)
		}
		u := &unpacker{root: root}
		for _, f := range frames {
			if err = u.take(f); err != nil {
				break
			}
		}
		u.closeFile()
		_ = u.finish()
		if got, readErr := os.ReadFile(filepath.Join(outside, "file")); readErr != nil || string(got) != "ours" {
			t.Errorf("%s: what lies outside is %q, %v", what, got, readErr)
		}
		if entries, readErr := os.ReadDir(outside); readErr != nil || len(entries) != 1 {
			t.Errorf("%s: outside are %v, %v", what, entries, readErr)
		}
		root.Close()
	}
	if info, err := os.Stat("a"); err != nil || info.Mode() != 0o777 {
		t.Errorf("a setuid file came as %v, %v", info, err)
	}
}

func TestWhatAMachineGivesIsLimited(t *testing.T) {
	t.Chdir(t.TempDir())
	l, from := machine(t)
	go func() { _ = l.take() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		e := guest.Entry{Type: guest.Plain, Mode: 0o600, Path: "endless"}
		f := guest.Frame{Channel: filesOut, Kind: guest.TellEntry, Data: e.Encode()}
		if _, err := guest.Read(from, guest.Window); err != nil { // it is asked first: before that nobody listens
			return
		}
		for guest.Write(from, f) == nil {
			f.Kind, f.Data = guest.TellOut, make([]byte, 16<<10)
		}
	}()
	if err := l.collect(ctx, 1<<20); err == nil || !strings.Contains(err.Error(), "disk limit") {
		t.Errorf("an endless file: %v", err)
	}
	if info, err := os.Stat("endless"); err != nil || info.Size() > 1<<20 {
		t.Errorf("it left %v, %v", info.Size(), err)
	}
}

// Where the monitor leaves its word its user may put anything.
func TestAnEndIsReadWithCare(t *testing.T) {
	box := t.TempDir()
	path := filepath.Join(box, endFile)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(`{"Exit":{"Message":"secret"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, path); err != nil {
		t.Fatal(err)
	}
	if e := ReadEnd(box); e != nil {
		t.Errorf("by a link it is %+v", e)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := ReadEnd(box); e != nil {
		t.Errorf("by a pipe it is %+v", e)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "nonsense", `{"Exit":{"Cause":"lease"}}`, `{"Exit":{"Cause":"shim_lost"}}`, `{"Exit":{"Message":"` + strings.Repeat("x", endMax) + `"}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if e := ReadEnd(box); e != nil {
			t.Errorf("%.40q is %+v", text, e)
		}
	}
	if err := writeEnd(box, End{Exit: drivers.Exit{Code: 127, Cause: drivers.CauseStartFailed, Message: "no"}, MemoryPeakBytes: 5}); err != nil {
		t.Fatal(err)
	}
	if e := ReadEnd(box); e == nil || e.Exit.Code != 127 || e.MemoryPeakBytes != 5 {
		t.Errorf("what was written is %+v", e)
	}
}
