package machine

import (
	"strings"
	"testing"

	"github.com/coinop/coinop/scheduler"
)

func (w *world) tell(lines ...string) {
	w.t.Helper()
	for _, line := range lines {
		w.play(strings.Fields(line))
		if err := w.m.View().CheckWork(1000); err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
	}
}

// A shape is kept for its jobs: with the last one it goes, or anybody could fill the state with shapes for ever.
func TestAShapeGoesWithTheLastJobOfIt(t *testing.T) {
	w := newWorld(t)
	w.tell("init", "issue alice 1000", "node n1",
		"submit j1 by=alice pay=100 time=50s bid=2 claim", "submit j2 by=alice pay=100 time=60s bid=1 claim", "submit j3 by=alice pay=100 time=5s bid=2 claim cpus=2",
		"cancel j1", "cancel j2", "cancel j3", "wait 168h")
	if n := w.m.View().shapes.len(); n != 2 {
		t.Fatalf("three jobs are of %d shapes, want 2", n)
	}
	for i, want := range []int{2, 1, 0} {
		w.tell([]string{"forget j1", "forget j3", "forget j2"}[i])
		if n := w.m.View().shapes.len(); n != want {
			t.Errorf("after job %d is forgotten there are %d shapes, want %d", i+1, n, want)
		}
	}
	w.tell("submit j4 by=alice pay=100 time=50s bid=2 claim", "place j4 n1")
	if j, ok := w.m.View().Job(4); !ok || j.Open != 1 {
		t.Errorf("the next job of the shape: %+v", j)
	}
	w.replay()
}

// A leader is asked to sweep as long as closed keysets have left something, and not once more.
func TestWhatAClosedKeysetLeavesIsSweptAndThatIsAll(t *testing.T) {
	w := newWorld(t)
	w.tell("init expires=1000h", "issue alice 700", "pot p by=alice pay=300", "keyset new 2 expires=2000h fee=100", "keyset 1 retiring", "swap alice keyset=2")
	if _, due := w.m.View().SweepDue(w.at); due {
		t.Error("something is to be swept and all keysets go on")
	}
	w.tell("close p", "wait 1000h")
	entries := 0
	for ; entries < 10; entries++ {
		due, any := w.m.View().SweepDue(w.at)
		if !any {
			break
		}
		if r := w.apply(due); r.Code != OK {
			t.Fatal(r.Code, r.Detail)
		}
	}
	v := w.m.View()
	if entries != 1 || v.spent.len() != 0 || v.keysetRows.len() != 1 {
		t.Errorf("after %d sweeps %d coins are known as spent, and %d keysets have records", entries, v.spent.len(), v.keysetRows.len())
	}
	w.replay()
}

// A task was to be killed when its order said that it should be asked to stop: with an order for another century, never.
func TestAnOrderForAnotherCenturyLetsNothingRunBeyondItsLimit(t *testing.T) {
	w := newWorld(t)
	w.tell("init", "issue alice 1000", "node n1", "submit j1 by=alice pay=100 time=50s bid=2 claim", "place j1 n1", "start j1", "wait 49s")
	late := w.at + 1<<40
	r := w.apply(Pulse{Stop: []StopRun{{Run: 1, Reason: scheduler.ReasonTimeLimit, StopAt: late, KillAt: late}}})
	run, ok := w.m.View().Run(1)
	if r.Code != OK || !ok || run.State != scheduler.RunStopping || run.KillAt != run.Start+50_000 || run.StopAt > run.KillAt {
		t.Errorf("%s: started at %d, stopped at %d, killed at %d", r.Code, run.Start, run.StopAt, run.KillAt)
	}
}
