package cmdline

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const columns, rows = 80, 12

// screen is what a person sees: as much of a terminal as our output makes use of.
type screen struct {
	lines    [rows][]rune
	row, col int
	wraps    bool
	saved    *screen // the one below the alternate screen
	strange  string  // a sequence that is not known here
}

// escape is a control sequence with its numbers and its letter.
var escape = regexp.MustCompile(`^\x1b\[(\??[0-9;]*)([A-Za-z])`)

func newScreen() *screen { return &screen{wraps: true} }

// feed draws text and returns what of it is an unfinished sequence.
func (s *screen) feed(text string) (rest string) {
	for text != "" {
		if text[0] == '\x1b' {
			m := escape.FindStringSubmatch(text)
			if m == nil {
				return text
			}
			s.control(m[1] + m[2])
			text = text[len(m[0]):]
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		switch r {
		case '\r':
			s.col = 0
		case '\n':
			s.down()
		case '\b':
			s.col = max(s.col-1, 0)
		case '\a':
		default:
			s.put(r)
		}
	}
	return ""
}

func (s *screen) down() {
	if s.row++; s.row == rows {
		copy(s.lines[:], s.lines[1:])
		s.lines[rows-1], s.row = nil, rows-1
	}
}

func (s *screen) put(r rune) {
	if s.col == columns && s.wraps {
		s.col = 0
		s.down()
	}
	at := min(s.col, columns-1)
	for len(s.lines[s.row]) <= at {
		s.lines[s.row] = append(s.lines[s.row], ' ')
	}
	s.lines[s.row][at] = r
	s.col = min(s.col+1, columns)
}

func (s *screen) control(what string) {
	switch what {
	case "K":
		s.lines[s.row] = s.lines[s.row][:min(s.col, len(s.lines[s.row]))]
	case "J":
		s.control("K")
		for i := s.row + 1; i < rows; i++ {
			s.lines[i] = nil
		}
	case "H":
		s.row, s.col = 0, 0
	case "?7l", "?7h":
		s.wraps = what == "?7h"
	case "?1049h":
		below := *s
		*s = screen{wraps: s.wraps, saved: &below, strange: s.strange}
	case "?1049l":
		if s.saved != nil {
			*s = *s.saved
		}
	case "?25l", "?25h", "m", "0m", "1m":
	default:
		s.strange = what
	}
}

func (s *screen) String() string {
	var text []string
	for _, l := range s.lines {
		text = append(text, strings.TrimRight(string(l), " "))
	}
	return strings.TrimRight(strings.Join(text, "\n"), "\n")
}

// terminal is a command that runs on a terminal of its own.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	ours *os.File

	mu     sync.Mutex
	screen *screen
	raw    bytes.Buffer // all that was written
	more   chan struct{}
	done   chan struct{}
}

// onTerminal starts a person's command on a new terminal.
func (p person) onTerminal(args ...string) *terminal {
	p.t.Helper()
	return p.starts(p.command(p.t.Context(), args...))
}

// starts gives a command a terminal.
func (p person) starts(cmd *exec.Cmd) *terminal {
	p.t.Helper()
	ours, theirs := openTerminal(p.t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	theirs.Close()
	x := &terminal{t: p.t, cmd: cmd, ours: ours, screen: newScreen(), more: make(chan struct{}, 1), done: make(chan struct{})}
	go x.read()
	p.t.Cleanup(func() {
		ours.Close()
		_ = cmd.Process.Kill()
		<-x.done
	})
	return x
}

func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here:", err)
	}
	fd := int(ours.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}
	if err == nil {
		theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		ours.Close()
		t.Fatal(err)
	}
	return ours, theirs
}

// read draws until the command has closed its side.
func (x *terminal) read() {
	defer close(x.done)
	rest := ""
	for buf := make([]byte, 4096); ; {
		n, err := x.ours.Read(buf)
		x.mu.Lock()
		x.raw.Write(buf[:n])
		rest = x.screen.feed(rest + string(buf[:n]))
		x.mu.Unlock()
		select {
		case x.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (x *terminal) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.String()
}

func (x *terminal) written() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.raw.String()
}

// await waits until the screen shows what matches.
func (x *terminal) await(what string) {
	x.t.Helper()
	want, late := regexp.MustCompile("(?m)"+what), time.After(patience)
	for !want.MatchString(x.String()) {
		select {
		case <-x.more:
		case <-x.done:
			if !want.MatchString(x.String()) {
				x.t.Fatalf("it ended and never showed %q:\n%s", what, x)
			}
		case <-late:
			x.t.Fatalf("it never showed %q:\n%s", what, x)
		}
	}
}

// types is what the person does: \x03 is Ctrl-C.
func (x *terminal) types(keys string) {
	x.t.Helper()
	if _, err := x.ours.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// ends waits for the command's end, and wants its exit code.
func (x *terminal) ends(code int) {
	x.t.Helper()
	ended := make(chan struct{})
	go func() {
		_ = x.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		x.t.Fatalf("it does not end:\n%s", x)
	}
	<-x.done
	if got := x.cmd.ProcessState.ExitCode(); got != code {
		x.t.Errorf("it exits with %d, want %d:\n%s", got, code, x)
	}
	if x.screen.strange != "" {
		x.t.Errorf("a sequence that this terminal does not know: %q", x.screen.strange)
	}
}

func TestTheScreenShowsWhatATerminalWould(t *testing.T) {
	s := newScreen()
	rest := s.feed("one\r\ntwo\r\x1b[Kthree\r\n\x1b[?7l" + strings.Repeat("x", 100) + "\x1b[?7h\r\x1b[Kend\x1b[?1049h\x1b[Hother\x1b[?1049l!\x1b[")
	if want := "one\nthree\nend!"; s.String() != want || rest != "\x1b[" || s.strange != "" {
		t.Errorf("%q, rest %q, strange %q", s.String(), rest, s.strange)
	}
	for i := range 20 {
		s.feed(fmt.Sprintf("\r\n%d", i))
	}
	if want := "8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19"; s.String() != want {
		t.Errorf("%q", s.String())
	}
	if s.feed("\x1b[5Z"); s.strange == "" {
		t.Error("an unknown sequence was let pass")
	}
}

func TestOnATerminalTheQuoteIsShownAndAnswered(t *testing.T) {
	d, _ := own(t, "--cpus", "2")
	you := d.someone(t, "you", "100")
	for verb, answer := range map[string]string{"run": "\n", "submit": "n\n"} {
		no := you.onTerminal(verb, "--time", "10", "--", "echo", "ran")
		no.await(`^to pay +25$(?s:.*)^pay 25 from this wallet\? \[y/N\]`)
		no.types(answer)
		no.ends(5)
		if free, _ := you.balance(); free != 100 {
			t.Errorf("%d are left of 100 after %q", free, answer)
		}
	}
	yes := you.onTerminal("run", "--time", "10", "--", "echo", "ran")
	yes.await(`from this wallet\?`)
	yes.types("y\n")
	yes.ends(0)
	if !strings.Contains(yes.String(), "\nran\n") {
		t.Errorf("it did not run:\n%s", yes)
	}
	cmd := you.command(t.Context(), "run", "--time", "10", "--", "echo", "ran")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 5 || !strings.Contains(string(out), "add --pay 25") {
		t.Errorf("in a pipe: %v\n%s", err, out)
	}
}

func TestCtrlCInATerminal(t *testing.T) {
	d, _ := own(t, "--cpus", "2")
	you := d.someone(t, "you", "1000")
	first := you.onTerminal("run", "--time", "60", "--pay", "150", "--", "sh", "-c", "echo up; sleep 50")
	first.await("^up$")
	first.types("\x03")
	first.await("^job 1 goes on; again within 2 s to cancel it$")
	first.ends(130)
	if shown := first.String(); strings.Contains(shown, "^C") || strings.Contains(shown, "spent") || !strings.HasSuffix(shown, "to cancel it") {
		t.Errorf("what is left on the screen:\n%s", shown)
	}
	if state := you.must("", "show", "1", "--json"); !strings.Contains(state, `"state":"running"`) {
		t.Errorf("the job did not go on: %s", state)
	}
	second := you.onTerminal("run", "--time", "60", "--pay", "150", "--", "sh", "-c", "echo up; sleep 50")
	second.await("^up$")
	second.types("\x03")
	second.await("again within 2 s")
	second.types("\x03")
	second.ends(143)
	if shown := second.String(); !strings.HasSuffix(shown, "job 2 is being cancelled\njob 2 done: cancelled, code 143") {
		t.Errorf("what is left on the screen:\n%s", shown)
	}
}

func TestAStreamsLineIsRedrawnInItsPlace(t *testing.T) {
	d, _ := own(t, "--cpus", "2")
	you := d.someone(t, "you", "1000")
	run := you.onTerminal("run", "--mode", "stream", "--pay", "300", "--", "sh", "-c",
		"echo begun; sleep 2.5; printf 'half a line'; sleep 1.5; echo ', whole'; sleep 1.5; printf 'no end'")
	run.await(`^begun\njob 1 running on n1, spent [1-9]`)
	run.await(`^begun\nhalf a line$`)
	run.await(`^half a line, whole\njob 1 running on n1, spent [4-9]`)
	run.ends(0)
	lines := strings.Split(run.String(), "\n")
	want := []string{"begun", "half a line, whole", "no end", "job 1 done: exited, code 0"}
	if got := lines[len(lines)-len(want):]; strings.Join(got, "\n") != strings.Join(want, "\n") || strings.Contains(run.String(), "spent") {
		t.Errorf("what is left on the screen:\n%s", run)
	}
	if n := strings.Count(run.written(), "spent"); n < 4 {
		t.Errorf("the line was drawn %d times", n)
	}
}

func TestTheQueueIsWatched(t *testing.T) {
	d, _ := own(t, "--cpus", "1")
	you := d.someone(t, "you", "9000")
	watch := you.onTerminal("queue", "--watch")
	watch.await(`^\d\d:\d\d:\d\d  0 jobs  \(Ctrl-C ends\)\nno jobs`)
	for range 12 {
		you.must("", "submit", "--time", "300", "--pay", "750", "--", "sleep", "200")
	}
	watch.await(`  12 jobs  (?s:.*)^JOB .*\n1 +default +running`)
	watch.await(`^… 4 more: `)
	you.must("", "cancel", "1")
	watch.await(`^2 +default +running`)
	if shown := watch.String(); strings.Count(shown, "JOB ") != 1 || strings.Count(shown, "Ctrl-C") != 1 {
		t.Errorf("one picture is drawn over the other:\n%s", shown)
	}
	watch.types("\x03")
	watch.ends(0)
	if shown := watch.String(); shown != "" && shown != "^C" {
		t.Errorf("it leaves on the screen:\n%s", shown)
	}
}

func TestBashCompletesWhatIsTyped(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs bash")
	}
	d, _ := own(t, "--cpus", "1")
	you := d.someone(t, "you", "")
	for _, step := range [][2]string{
		{"coinop rece", `> coinop receipt$`},
		{"coinop queue --sta", `> coinop queue --state$`},
		{"coinop queue --state ru", `> coinop queue --state running$`},
		{"coinop queue --state=pa", `> coinop queue --state=paused$`},
		{"coinop run --pool def", `> coinop run --pool default$`},
		{"coinop drain n", `> coinop drain n1$`},
		{"coinop operator token create --role vi", `> coinop operator token create --role view$`},
	} {
		shell := exec.CommandContext(t.Context(), "bash", "--norc", "--noprofile", "-i")
		shell.Dir, shell.Env = t.TempDir(), append(you.env, "TERM=dumb", "PS1=> ", "INPUTRC=/dev/null")
		x := you.starts(shell)
		x.await(`^>$`)
		x.types("source <(coinop completion bash)\n")
		x.await(`bash\)\n>\z`)
		x.types(step[0] + "\t")
		x.await(step[1])
		if strings.Contains(x.written(), "not found") || strings.Contains(x.written(), "completion function") {
			t.Errorf("it complains:\n%s", x.written())
		}
	}
}
