package machine

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

var rewrite = flag.Bool("rewrite", false, "write the outcomes of scenarios and golden logs anew")

// TestScenarios plays the stories in testdata/*.txt. A line is a verb, its arguments, an arrow and
// the outcome; `-rewrite` writes the outcomes as they are now. After every line the whole state is
// checked against itself; at the end of a story its log is replayed, and a snapshot is taken,
// restored and taken again.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			playFile(t, file)
		})
	}
}

func playFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	before := w.m.View()
	var out strings.Builder
	for n, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		command, want, _ := strings.Cut(line, "->")
		command = strings.TrimRight(command, " ")
		words := strings.Fields(command)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			out.WriteString(line + "\n")
			continue
		}
		got := w.play(words)
		fmt.Fprintf(&out, "%-55s -> %s\n", command, got)
		if want = strings.TrimSpace(want); got != want && !*rewrite {
			t.Errorf("%s:%d: %s\n got  %s\n want %s", file, n+1, command, got, want)
		}
		view := w.m.View()
		if err := errors.Join(view.Check(), view.CheckWork(funding.MillisMax), view.CheckGrowth(before)); err != nil {
			t.Fatalf("%s:%d: after %q: %v", file, n+1, command, err)
		}
		before = view
	}
	w.replay()
	if *rewrite {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		keepGolden(t, strings.TrimSuffix(filepath.Base(file), ".txt"), w.log)
		keepSnapshot(t, strings.TrimSuffix(filepath.Base(file), ".txt"), w.log)
	}
}

// entry is one applied entry of a story.
type entry struct {
	index uint64
	bytes []byte
	sum   [32]byte
}

// world is a machine and those who talk to it.
type world struct {
	t      *testing.T
	m      *Machine
	at     funding.Millis
	index  uint64
	log    []entry
	last   Result
	verbs  map[string]verb
	purses map[string]*purse
	pots   map[string]funding.PotID
	jobs   map[string]scheduler.JobID
	nodes  map[string]scheduler.NodeID
	serial int    // numbers what is drawn at random elsewhere
	resend []byte // the entry that `again` sends once more
}

// verb plays one line and tells the outcome.
type verb func(w *world, a args) string

// dayOne is when stories begin.
const dayOne funding.Millis = 1_800_000_000_000

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, m: New(), at: dayOne, verbs: make(map[string]verb),
		purses: make(map[string]*purse), pots: make(map[string]funding.PotID),
		jobs: make(map[string]scheduler.JobID), nodes: make(map[string]scheduler.NodeID),
	}
	for _, verbs := range []map[string]verb{timeVerbs(), moneyVerbs(), clusterVerbs(), jobVerbs()} {
		for name, do := range verbs {
			w.verbs[name] = do
		}
	}
	return w
}

func (w *world) play(words []string) string {
	do, ok := w.verbs[words[0]]
	if !ok {
		w.t.Fatalf("no such verb: %s", words[0])
	}
	return do(w, parseArgs(w.t, words[1:]))
}

// apply sends a command and fails the test on what must never happen.
func (w *world) apply(c Command) Result {
	w.t.Helper()
	bytes, err := Encode(w.at, c)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.applyBytes(bytes)
}

func (w *world) applyBytes(bytes []byte) Result {
	w.t.Helper()
	w.index++
	r := w.m.Apply(w.index, bytes)
	if r.Code == CodePanic || r.Code == CodeInternal {
		w.t.Fatalf("entry %d: %s: %s\n%s", w.index, r.Code, r.Detail, r.Panic)
	}
	w.log = append(w.log, entry{w.index, bytes, r.Sum})
	w.last, w.resend = r, bytes
	return r
}

// does applies a command and reads its answer; the outcome is the code of a refusal, or empty.
func (w *world) does(c Command, answer any) string {
	w.t.Helper()
	r := w.apply(c)
	if r.Code != OK {
		return string(r.Code)
	}
	if err := DecodeAnswer(r.Answer, answer); err != nil {
		w.t.Fatalf("%T: %v", answer, err)
	}
	return ""
}

// replay checks that the log alone gives the same results, and that a snapshot is the state.
func (w *world) replay() {
	w.t.Helper()
	again := New()
	for i, e := range w.log {
		if r := again.Apply(e.index, e.bytes); r.Sum != e.sum {
			w.t.Fatalf("entry %d has another result the second time", e.index)
		}
		if i == len(w.log)/2 {
			again = restored(w.t, again) // half the story by log, half by snapshot and log
		}
	}
	first, second := snapshotOf(w.t, w.m), snapshotOf(w.t, again)
	if !bytes.Equal(first, second) {
		w.t.Fatal("the same log gave another snapshot")
	}
	if third := snapshotOf(w.t, restored(w.t, again)); !bytes.Equal(first, third) {
		w.t.Fatal("a restored snapshot gives another snapshot")
	}
}

func snapshotOf(t testing.TB, m *Machine) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Snapshot(m.View(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func restored(t testing.TB, m *Machine) *Machine {
	t.Helper()
	again, err := Restore(bytes.NewReader(snapshotOf(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// args are a line's words: some in order, some by name.
type args struct {
	t     *testing.T
	words []string
	named map[string]string
}

func parseArgs(t *testing.T, words []string) args {
	a := args{t: t, named: make(map[string]string)}
	for _, word := range words {
		if name, value, ok := strings.Cut(word, "="); ok {
			a.named[name] = value
		} else {
			a.words = append(a.words, word)
		}
	}
	return a
}

// word is the nth word; a story that lacks it is wrong.
func (a args) word(n int) string {
	a.t.Helper()
	if n >= len(a.words) {
		a.t.Fatalf("word %d is missing after %v", n+1, a.words)
	}
	return a.words[n]
}

func (a args) has(flag string) bool {
	for _, word := range a.words {
		if word == flag {
			return true
		}
	}
	return false
}

func (a args) text(name, otherwise string) string {
	if value, ok := a.named[name]; ok {
		return value
	}
	return otherwise
}

func (a args) number(name string, otherwise int64) int64 {
	a.t.Helper()
	value, ok := a.named[name]
	if !ok {
		return otherwise
	}
	return number(a.t, value)
}

func (a args) duration(name string, otherwise funding.Millis) funding.Millis {
	a.t.Helper()
	value, ok := a.named[name]
	if !ok {
		return otherwise
	}
	return duration(a.t, value)
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func duration(t *testing.T, text string) funding.Millis {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return funding.Millis(d.Milliseconds())
}

// timeVerbs move the clock and repeat what was sent.
func timeVerbs() map[string]verb {
	return map[string]verb{
		"wait": func(w *world, a args) string {
			w.at += duration(w.t, a.word(0))
			return fmt.Sprintf("t=%s", time.Duration(w.at-dayOne)*time.Millisecond)
		},
		// again sends the last entry's command once more and compares the answers.
		"again": func(w *world, _ args) string {
			first := w.last
			_, command, err := Decode(w.resend)
			if err != nil {
				w.t.Fatal(err)
			}
			r := w.apply(command)
			switch {
			case r.Code != first.Code:
				return string(r.Code)
			case !bytes.Equal(r.Answer, first.Answer):
				return "another answer"
			case len(r.Events) > 0:
				return "same answer, but something happened"
			}
			return "same answer"
		},
	}
}

func splitWords(line string) []string { return strings.Fields(line) }
