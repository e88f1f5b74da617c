package scheduler

import (
	"slices"
	"testing"
)

func TestEveryStateCanBeReachedAndLeft(t *testing.T) {
	jobs, runs := []JobState{JobNew}, []RunState{RunNew}
	for range 10 {
		for _, s := range JobSteps() {
			if slices.Contains(jobs, s.From) && !slices.Contains(jobs, s.To) {
				jobs = append(jobs, s.To)
			}
		}
		for _, s := range RunSteps() {
			if slices.Contains(runs, s.From) && !slices.Contains(runs, s.To) {
				runs = append(runs, s.To)
			}
		}
	}
	for s := JobNew; s <= JobDone; s++ {
		if _, ends := s.On(EventEnd); !slices.Contains(jobs, s) || ends == (s == JobNew || s == JobDone) {
			t.Errorf("job state %s: reached %v, can end %v", s, slices.Contains(jobs, s), ends)
		}
	}
	for s := RunNew; s <= RunSuspended; s++ {
		if _, ends := s.On(EventEnd); !slices.Contains(runs, s) || ends == (s == RunNew || s == RunEnded) {
			t.Errorf("run state %s: reached %v, can end %v", s, slices.Contains(runs, s), ends)
		}
	}
}

func TestAStateAndAnEventHaveOneOutcome(t *testing.T) {
	type key struct{ from, on uint8 }
	seen := map[key]bool{}
	for _, s := range JobSteps() {
		k := key{uint8(s.From), uint8(s.On)}
		if seen[k] {
			t.Errorf("job %s: two outcomes on %s", s.From, s.On)
		}
		seen[k] = true
	}
	clear(seen)
	for _, s := range RunSteps() {
		k := key{uint8(s.From), uint8(s.On)}
		if seen[k] {
			t.Errorf("run %s: two outcomes on %s", s.From, s.On)
		}
		seen[k] = true
	}
}

func TestTheEndIsFinal(t *testing.T) {
	for e := Event(0); e <= EventSubmit; e++ {
		if _, ok := JobDone.On(e); ok {
			t.Errorf("a job that is done takes %s", e)
		}
		if _, ok := RunEnded.On(e); ok {
			t.Errorf("a run that has ended takes %s", e)
		}
	}
}

func TestWordsStayAsScriptsKnowThem(t *testing.T) {
	for got, want := range map[string]string{
		JobQueued.String(): "queued", JobDone.String(): "done", RunStopping.String(): "stopping", NodeQuarantined.String(): "quarantined",
		ReasonFaultsTwice.String(): "faults_twice", ReasonMoneyEnd.String(): "money_end", Trusted.String(): "trusted",
		EventAgain.String(): "again", JobState(99).String(): "99",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
