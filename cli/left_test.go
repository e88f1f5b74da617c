package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
)

// Whatever a program is in the middle of, our word comes behind it.
func TestAWordOfOursStandsBetweenAProgramsOwn(t *testing.T) {
	for _, program := range []string{
		"plain", "\x1b[31;1mred\x1b[0m", "\x1b]0;its title\a", "\x1b]8;;http://x\x1b\\link", "ümlaut€😀", "\x1b(B", "\x1bPdevice\x1b\\", "\x1b[?1049h", "\xff\xfe!", "\x1b\x1b[A",
	} {
		for cut := range len(program) {
			var all bytes.Buffer
			s := &screen{to: &all}
			write := func(text string) {
				if n, err := s.Write([]byte(text)); err != nil || n != len(text) {
					t.Fatal(n, err)
				}
			}
			write(program[:cut])
			s.title("ours")
			write(program[cut:] + "x")
			got := all.String()
			if strings.ReplaceAll(got, "\x1b]2;ours\a", "") != program+"x" || strings.Count(got, "\x1b]2;ours\a") != 1 {
				t.Fatalf("%q cut at %d came as %q", program, cut, got)
			}
			// Without ours in the way the program's own bytes mean the same, so it may stand only where one has ended.
			before, _, _ := strings.Cut(got, "\x1b]2;ours\a")
			var at sequence
			for _, b := range []byte(before) {
				at.next(b)
			}
			if at != (sequence{}) || whole(before) != before {
				t.Errorf("%q: it stands within a sequence: behind %q", program, before)
			}
		}
	}
}

// whole is what of a text are whole sequences, by a list of those that the test uses.
func whole(text string) string {
	for _, s := range []string{"\x1b[31;1m", "\x1b[0m", "\x1b]0;its title\a", "\x1b]8;;http://x\x1b\\", "\x1b(B", "\x1bPdevice\x1b\\", "\x1b[?1049h", "\x1b[A"} {
		for n := 1; n < len(s); n++ {
			if strings.HasSuffix(text, s[:n]) && !strings.HasSuffix(text, s) {
				return text[:len(text)-n]
			}
		}
	}
	return text
}

func TestTitlesAreGivenBack(t *testing.T) {
	var all bytes.Buffer
	s := &screen{to: &all}
	s.keepTitle()
	s.title("one\x1b]2;two\nthree")
	if _, err := s.Write([]byte("\x1b[3")); err != nil {
		t.Fatal(err)
	}
	s.restoreTitle()
	if got, want := all.String(), "\x1b[22;2t\x1b]2;one ]2;two three\a\x1b[3\x1b[23;2t"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWhatIsLeftIsTold(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) *time.Time { x := now.Add(d); return &x }
	job := func(limit, funded time.Duration, deposited, spent int64) client.Job {
		j := client.Job{Job: 12, State: "running", Private: &client.JobPrivate{
			SpentMicro: spent, Runs: []client.Run{{Run: 3, Until: at(limit)}, {Run: 2, Until: at(time.Second), Ended: at(-time.Hour)}}}}
		if funded != 0 {
			j.Private.FundedUntil = at(funded)
		}
		j.Private.Pot.DepositedMicro, j.Private.Pot.Jobs = deposited, 1
		return j
	}
	l := &left{job: 12}
	step := func(what string, j client.Job, after time.Duration, title, warning string, lines ...string) {
		t.Helper()
		got := l.see(j, 0, nil)
		if len(got) != len(lines) || len(got) > 0 && !strings.Contains(got[0], lines[0]) {
			t.Errorf("%s: said is %q, want %q", what, got, lines)
		}
		if w := l.warning(now.Add(after)); (w == "") != (warning == "") || !strings.Contains(w, warning) {
			t.Errorf("%s: the warning is %q, want %q", what, w, warning)
		}
		if got := l.title(now.Add(after)); got != title {
			t.Errorf("%s: the title is %q, want %q", what, got, title)
		}
	}
	const unit = 1_000_000
	step("at first", job(2*time.Hour, 30*time.Minute, 40*unit, unit/2), 0, "job 12: 30 min left, money 39", "")
	step("later", job(2*time.Hour, 30*time.Minute, 40*unit, 25*unit), 20*time.Minute, "job 12: 10 min left, money 15", "the money ends in 10 min")
	step("said once", job(2*time.Hour, 30*time.Minute, 40*unit, 30*unit), 21*time.Minute, "job 12: 9 min left, money 10", "")
	step("at the last minute", job(2*time.Hour, 30*time.Minute, 40*unit, 39*unit), 29*time.Minute, "job 12: 1m0s left, money 1", "the money ends in 1m0s")
	step("topped up", job(2*time.Hour, 3*time.Hour, 140*unit, 39*unit), 29*time.Minute, "job 12: 1 h 31 min left, money 101", "", "100 were added; it lasts until")
	step("towards the limit", job(2*time.Hour, 3*time.Hour, 140*unit, 99*unit), 111*time.Minute, "job 12: 9 min left, money 41", "its time limit ends it in 9 min")
	longer := job(3*time.Hour, 4*time.Hour, 140*unit, 99*unit)
	longer.Mode = "stream"
	if got := l.see(longer, 0, []client.Event{{Kind: "extended"}}); len(got) != 1 || !strings.Contains(got[0], "its time limit was moved; it lasts until "+clock(at(3*time.Hour))) {
		t.Errorf("its limit was moved, and %q is said", got)
	}
	step("given more time", longer, 111*time.Minute, "job 12: 1 h 09 min left, money 41", "")
	step("towards the new limit", longer, 171*time.Minute, "job 12: 9 min left, money 41", "; `coinop fund 12 --time 30m` moves it")
	l = &left{job: 12}
	step("at the last minute at once", job(50*time.Second, 0, unit, 0), 0, "job 12: 50s left, money 1", "its time limit ends it in 50s")
	step("and never again", job(50*time.Second, 0, unit, 0), 10*time.Second, "job 12: 40s left, money 1", "")
}
