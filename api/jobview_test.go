package api_test

import (
	"testing"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

const hours funding.Millis = 3_600_000

// shown is a started job of 1.25 billing units at a price of one a second, with its owner's eyes on it.
type shown struct {
	*world
	purse  *purse
	secret client.Secret
	job    uint64
	run    scheduler.RunID
}

func newShown(t *testing.T, change func(*client.SubmitRequest)) *shown {
	t.Helper()
	return newShownBy(t, func(*api.Config) {}, change)
}

func newShownBy(t *testing.T, configure func(*api.Config), change func(*client.SubmitRequest)) *shown {
	t.Helper()
	var w *world
	w = newWorld(t, func(c *api.Config) {
		configure(c)
		c.Now = func() funding.Millis {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.at
		}
	})
	s := &shown{world: w, purse: w.purse(), secret: client.NewSecret()}
	r := order(s.secret)
	r.Job.BidMicro = 1_000_000
	change(&r)
	r.Inputs, r.Blanks = s.purse.issue(r.Pay), s.purse.blanks(20)
	answer, err := w.c.Submit(t.Context(), newKey(), "", r)
	if err != nil {
		t.Fatal(err)
	}
	var placed machine.PlaceAnswer
	result := w.does(&machine.Place{Decisions: []machine.Placement{{Job: scheduler.JobID(answer.Job), Nodes: []scheduler.NodeID{1}}}})
	if err := machine.DecodeAnswer(result.Answer, &placed); err != nil || len(placed.Runs) != 1 {
		t.Fatalf("place: %+v, %v", placed, err)
	}
	s.job, s.run = answer.Job, placed.Runs[0]
	start := w.at
	w.reports(machine.RunReport{Run: s.run, Started: &start})
	return s
}

// wants says that the owner is shown as spent and as billed what the job ran for, whatever of it was settled.
func (s *shown) wants(when string, ran funding.Millis) {
	s.t.Helper()
	job, err := s.c.Job(s.t.Context(), s.job, s.secret.Key("view"))
	if err != nil || job.Private == nil || len(job.Private.Runs) != 1 {
		s.t.Fatalf("%s: %+v, %v", when, job, err)
	}
	cost := int64(ran) * 1250
	if p := job.Private; p.SpentMicro != cost || p.Runs[0].OwedMicro != cost || p.BilledMs != int64(ran) {
		s.t.Errorf("%s: spent %d, of which the run owes %d, for %d ms; it ran for %d and owes %d", when, p.SpentMicro, p.Runs[0].OwedMicro, p.BilledMs, ran, cost)
	}
}

// due lets time pass, and what it brings about happen.
func (s *shown) due(d funding.Millis) {
	s.t.Helper()
	s.later(d)
	for {
		entry, due := s.View().Due(s.at)
		if !due {
			return
		}
		s.does(&entry)
	}
}

// runsDry has the run go on until its money is gone.
func (s *shown) runsDry() {
	s.t.Helper()
	for ran := 0; ; ran++ {
		run, ok := s.View().Run(s.run)
		if ok && run.State == scheduler.RunPaused {
			return
		}
		if !ok || ran > 3600 {
			s.t.Fatalf("for an hour its money did not end: %+v", run)
		}
		s.due(1000)
	}
}

func (s *shown) pays(credits int64) {
	s.t.Helper()
	if _, err := s.c.Deposit(s.t.Context(), s.secret.Key("fund"), newKey(), "", client.DepositRequest{
		Payment: client.Payment{Pay: credits, Inputs: s.purse.issue(credits), Blanks: s.purse.blanks(13)},
	}); err != nil {
		s.t.Fatal(err)
	}
}

// What is settled each day is charged, and not told once more as what the run owes.
func TestWhatASettledRunHasSpentIsShownOnce(t *testing.T) {
	s := newShown(t, func(r *client.SubmitRequest) { r.Pay, r.Job.TimeMs = 500_000, int64(72*hours) })
	start := s.at
	s.later(hours)
	s.wants("before it is settled", hours)
	s.later(25 * hours)
	stopped := []machine.Span{{From: start + 2*hours, To: start + 3*hours}}
	s.reports(machine.RunReport{Run: s.run, Alive: &machine.Alive{To: s.at, Stopped: stopped}})
	if record, _ := s.View().Job(scheduler.JobID(s.job)); record.Charged == 0 {
		t.Fatal("nothing was settled")
	}
	s.wants("when it was settled, an hour of standing still left out", 25*hours)
	s.later(hours)
	s.wants("an hour later", 26*hours)
	s.reports(machine.RunReport{Run: s.run, Ended: &machine.End{At: s.at, Stopped: stopped, Reason: scheduler.ReasonExited}})
	s.wants("when it has ended", 26*hours)
}

// What a run was charged before it was suspended is not told once more when it goes on.
func TestWhatASuspendedRunHasSpentIsShownOnce(t *testing.T) {
	s := newShown(t, func(r *client.SubmitRequest) { r.Pay, r.Job.TimeMs, r.Job.Mode = 2000, 0, "stream" })
	began := s.at
	s.runsDry()
	first := s.at - began
	s.wants("when it is paused", first)
	s.reports(machine.RunReport{Run: s.run, Suspended: &machine.Suspended{At: s.at}})
	s.due(60_000)
	s.wants("a minute on disk later, which costs nothing here", first)
	s.pays(4000)
	wake := s.View().WakeDue(s.at, 1)
	if len(wake.Wake) != 1 {
		t.Fatal("it does not go on with money")
	}
	s.does(&wake)
	s.wants("as it goes on", first)
	s.due(100_000)
	s.wants("a hundred seconds later", first+100_000)
	s.reports(machine.RunReport{Run: s.run, Ended: &machine.End{At: s.at, Reason: scheduler.ReasonExited}})
	s.wants("when it has ended", first+100_000)
}
