package monitor

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/vm/guest"
)

// stand is a monitor beside a machine that is played.
type stand struct {
	*monitor
	machine *os.File
	mine    io.Closer  // the other end
	ended   chan error // what attend says, or before it who reads nonsense
	status  syscall.WaitStatus
	credit  chan uint32 // all that the machine was given, when the line is closed
	closed  chan []uint16
}

func newStand(t *testing.T, still bool, w Written) *stand {
	t.Helper()
	mine, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	m := &monitor{box: t.TempDir(), line: newLine(), over: make(chan struct{}), asked: make(chan chan passing)}
	s := &stand{m, theirs, mine, make(chan error, 2), 0, make(chan uint32, 1), make(chan []uint16, 1)}
	if err := m.takeUp(w); err != nil {
		t.Fatal(err)
	}
	if still {
		m.line.writing <- struct{}{}
	}
	if m.main, err = m.line.open(mainChannel); err != nil {
		t.Fatal(err)
	}
	m.line.join(&qemu{guest: mine})
	go s.hear()
	ctx, cancel := context.WithCancel(context.Background())
	go func() { s.ended <- m.line.take() }()
	go func() { s.ended <- m.attend(ctx, &s.status) }()
	t.Cleanup(func() {
		cancel()
		mine.Close()
		theirs.Close()
		<-s.credit
		close(m.line.gone)
	})
	return s
}

// hear sums up what the machine is told.
func (s *stand) hear() {
	sum, closed := uint32(0), []uint16(nil)
	for {
		f, err := guest.Read(s.machine, guest.Window)
		if err != nil {
			s.closed <- closed
			s.credit <- sum
			close(s.credit)
			return
		}
		switch f.Kind {
		case guest.AskCredit:
			sum += binary.LittleEndian.Uint32(f.Data)
		case guest.AskClose:
			closed = append(closed, f.Channel)
		}
	}
}

// suspended is what a monitor writes down when its machine has said so much and then no more.
func (s *stand) suspended(t *testing.T) Written {
	t.Helper()
	if err := unix.Shutdown(int(s.machine.Fd()), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	quiet := make(chan struct{})
	close(quiet)
	if err := s.note(t.Context(), &qemu{quiet: quiet}); err != nil {
		t.Fatal(err)
	}
	file, w, err := OpenWritten(s.box)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	return w
}

// captured is what is written to standard output until it is asked for.
func captured(t *testing.T) func() string {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdout
	os.Stdout = write
	all := make(chan string, 1)
	go func() {
		data, _ := io.ReadAll(read) //nolint:errcheck // what is missing is seen
		all <- string(data)
	}()
	return func() string {
		os.Stdout = before
		write.Close()
		defer read.Close()
		return <-all
	}
}

// said is a machine's whole word: what its task says, what another command says, and the end.
func said(t *testing.T, random *rand.Rand) (stream []byte, out string, cost uint32) {
	t.Helper()
	var b bytes.Buffer
	put := func(f guest.Frame) {
		if err := guest.Write(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	for i := range 40 {
		data := bytes.Repeat([]byte{byte('a' + i%26)}, 1+random.IntN(700))
		if random.IntN(4) == 0 {
			put(guest.Frame{Channel: 17, Kind: guest.TellOut, Data: data})
			continue
		}
		put(guest.Frame{Channel: mainChannel, Kind: guest.TellOut, Data: data})
		text.Write(data)
		cost += uint32(len(data)) + guest.FrameCost
	}
	put(guest.Frame{Channel: mainChannel, Kind: guest.TellUsed, Data: binary.LittleEndian.AppendUint64(make([]byte, 0, 24), 77)[:24]})
	put(guest.Frame{Channel: mainChannel, Kind: guest.TellExit, Data: append([]byte{0, 0, 0, 0, 0, 9}, make([]byte, 58)...)})
	return b.Bytes(), text.String(), cost
}

// moved plays a machine that is suspended after so many bytes and goes on beside another monitor, and says what was heard of it in all.
func moved(t *testing.T, stream []byte, asleep, cut int, spoil func(*Written)) (out string, credit uint32, second *stand) {
	t.Helper()
	stop := captured(t)
	first := newStand(t, false, Written{Next: 16})
	if _, err := first.line.open(anyNumber); err != nil {
		t.Fatal(err)
	}
	write(t, first.machine, stream[:asleep])
	first.line.writing <- struct{}{} // it is to stand still, and says a little more
	write(t, first.machine, stream[asleep:cut])
	w := first.suspended(t)
	if !slices.Equal(w.Open, []uint16{17}) || w.Next != 17 {
		t.Errorf("open are %d, the next after %d", w.Open, w.Next)
	}
	spoil(&w)
	second = newStand(t, true, w)
	<-second.line.writing
	if err := second.leave(t.Context(), w.Open); err != nil {
		t.Fatal(err)
	}
	write(t, second.machine, stream[cut:])
	select {
	case <-second.ended:
	case <-time.After(time.Minute):
		t.Error("it never ends")
	}
	second.mine.Close()
	if closed := <-second.closed; !slices.Equal(closed, w.Open) {
		t.Errorf("closed are %d", closed)
	}
	return stop(), <-first.credit + <-second.credit, second
}

func write(t *testing.T, to *os.File, data []byte) {
	t.Helper()
	if _, err := to.Write(data); err != nil {
		t.Fatal(err)
	}
}

// Wherever a machine's word is cut: all of it is passed on once and in order, it is told of all the room that there is, and how it
// ended is known.
func TestNothingIsLostAtTheSeam(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 60 {
		stream, want, cost := said(t, random)
		cut := random.IntN(len(stream) + 1)
		switch i { // the places that matter
		case 0:
			cut = 0
		case 1:
			cut = len(stream)
		case 2:
			cut = len(stream) - 3
		case 3:
			cut = 5
		}
		asleep := random.IntN(min(cut, len(stream)-100) + 1) // it does not end before
		out, credit, s := moved(t, stream, asleep, cut, func(*Written) {})
		if out != want || credit != cost || s.status.ExitStatus() != 9 || s.monitor.end.MemoryPeakBytes != 77 {
			t.Fatalf("seed %d, cut at %d of %d: %d bytes instead of %d, room for %d instead of %d, status %v, used %d", seed, cut, len(stream), len(out), len(want), credit, cost, s.status, s.monitor.end.MemoryPeakBytes)
		}
	}
}

// Each thing that is written down is needed.
func TestTheSeamTestBites(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for what, spoil := range map[string]func(*Written){
		"half a frame": func(w *Written) { w.Part = nil },
		"room":         func(w *Written) { w.Owed = 0 },
	} {
		stream, want, cost := said(t, random)
		cut := len(stream)/2 + 3
		for bytes.HasSuffix(stream[:cut], []byte{0}) { // inside of a frame's text
			cut++
		}
		out, credit, s := moved(t, stream, 0, cut, func(w *Written) {
			if w.Part == nil || w.Owed == 0 {
				t.Fatalf("at %d nothing is to be lost: %+v", cut, w)
			}
			spoil(w)
		})
		if out == want && credit == cost && s.status.ExitStatus() == 9 {
			t.Errorf("%s is lost, and nobody misses it", what)
		}
	}
}

// Where the monitor leaves its word its user may put anything.
func TestWhatIsWrittenIsReadWithCare(t *testing.T) {
	box := t.TempDir()
	path := filepath.Join(box, suspendedFile)
	refused := func(what string) {
		t.Helper()
		if file, w, err := OpenWritten(box); err == nil {
			file.Close()
			t.Errorf("%s is %+v", what, w)
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(`{"Next":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, path); err != nil {
		t.Fatal(err)
	}
	refused("a link")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a pipe")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	refused("a folder")
	for _, text := range []string{"", "nonsense", `{"Owed":-1}`, `{"Owed":4000000000}`, `{"Next":70000}`, `{"Part":"` + strings.Repeat("A", 60_000) + `"}`, `{"Exit":"` + strings.Repeat("A", 60_000) + `"}`,
		`{"Open":[` + strings.Repeat("17,", channelsMax) + `17]}`, `{"Next":1` + strings.Repeat(" ", writtenMax) + `}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(text[:min(len(text), 40)])
	}
}
