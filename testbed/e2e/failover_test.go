//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

const (
	perSecond     = 1000 // submissions
	beforeKill    = 2000 // acknowledged submissions
	afterKill     = 1000
	leastOfARound = 500
	silentMost    = 2 * time.Second
)

// round kills the leader under load and starts it again. It returns what was acknowledged.
func (f *loaded) round(t *testing.T, ctx context.Context, n int) []cluster.Submission {
	t.Helper()
	f.accepted = nil
	began := time.Now()
	halt := f.load.Start(ctx)
	defer halt() //nolint:errcheck // called below, where all is well
	f.reach(t, ctx, beforeKill)
	leader, before, err := f.c.Leader(ctx)
	must(t, err)
	must(t, leader.Kill())
	killed := time.Now()
	f.mu.Lock()
	pace := float64(len(f.accepted)) / killed.Sub(began).Seconds()
	known := len(f.accepted)
	f.mu.Unlock()
	f.reach(t, ctx, known+afterKill)
	must(t, halt())
	slices.SortFunc(f.accepted, func(a, b cluster.Submission) int { return a.Accepted.Compare(b.Accepted) })
	silent := silence(f.accepted, killed)
	_, after, err := f.c.Leader(ctx)
	must(t, err)
	t.Logf("round %d: %s killed at %.0f submissions a second; nothing accepted for %.2f s, %d acknowledged, term %d to %d",
		n, leader.Name, pace, silent.Seconds(), len(f.accepted), before.Term, after.Term)
	if after.Term <= before.Term {
		t.Errorf("the term went from %d to %d: nothing was broken", before.Term, after.Term)
	}
	if len(f.accepted) < leastOfARound {
		t.Errorf("%d submissions were acknowledged, too few to say anything", len(f.accepted))
	}
	if silent > silentMost {
		t.Errorf("nothing was accepted for %s", silent)
	}
	f.again(t, ctx, killed)
	must(t, f.c.Restart(ctx, leader))
	must(t, f.c.Level(ctx))
	return f.accepted
}

// silence is the longest time after a moment in which nothing was accepted.
func silence(sorted []cluster.Submission, since time.Time) (longest time.Duration) {
	last := since
	for _, s := range sorted {
		if s.Accepted.After(since) {
			longest, last = max(longest, s.Accepted.Sub(last)), s.Accepted
		}
	}
	return longest
}

// again sends what was acknowledged shortly before the kill or after it once more: the answer is the same.
func (f *loaded) again(t *testing.T, ctx context.Context, killed time.Time) {
	t.Helper()
	begin := slices.IndexFunc(f.accepted, func(s cluster.Submission) bool { return s.Accepted.After(killed.Add(-time.Second / 2)) })
	var (
		work  = make(chan cluster.Submission)
		all   sync.WaitGroup
		mu    sync.Mutex
		wrong []error // guarded by mu
	)
	for i := range senders {
		all.Go(func() {
			for s := range work {
				var answer client.SubmitAnswer
				err := f.load.APIs[i%len(f.load.APIs)].Send(ctx, s.Request, &answer)
				if err == nil && answer.Job != s.Answer.Job {
					err = fmt.Errorf("job %d was sent again and became job %d", s.Answer.Job, answer.Job)
				}
				mu.Lock()
				wrong = append(wrong, err)
				mu.Unlock()
			}
		})
	}
	for _, s := range f.accepted[begin:] {
		work <- s
	}
	close(work)
	all.Wait()
	must(t, errors.Join(wrong...))
}

func TestTheLeaderOfThreeIsKilledUnderLoad(t *testing.T) {
	rounds := size(t, "COINOP_E2E_FAILOVERS", 2, strconv.Atoi)
	ctx, f := underLoad(t, time.Minute+time.Duration(rounds)*time.Minute)
	var counters []counter
	var jobs []uint64
	for range 4 {
		k := count(t, ctx, f.c, f.user)
		counters, jobs = append(counters, k), append(jobs, k.job)
	}
	f.load.PerSecond = perSecond
	var ran []cluster.Submission
	var held int64
	for n := range rounds {
		for _, s := range f.round(t, ctx, n+1) {
			jobs = append(jobs, s.Answer.Job)
			if s.Answer.BidMicro == jobOf(1).BidMicro {
				held += s.Answer.HeldMicro
			} else {
				ran = append(ran, s)
			}
		}
	}
	for _, k := range counters {
		longest := k.undisturbed(t, ctx)
		t.Logf("job %d: process %d has counted all the time; its longest rest was %s", k.job, k.pid, longest)
	}
	f.settled(t, ctx, ran, held)
	for _, k := range counters {
		k.end(t, ctx, f.user)
	}
	history, err := f.c.Books(ctx)
	must(t, err)
	must(t, lostOrDoubled(jobs, history.Jobs))
	must(t, f.c.Balanced(ctx))
	t.Logf("%d jobs, each of them once; all books end with event %d, %x", len(jobs), history.Last, history.Hash[:8])
}

// settled waits until the jobs that can run are done, and compares the pot with their receipts and what the others hold.
func (f *loaded) settled(t *testing.T, ctx context.Context, ran []cluster.Submission, held int64) {
	t.Helper()
	api := f.load.APIs[0]
	var charged int64
	for _, s := range ran {
		must(t, cluster.Until(ctx, 2*time.Minute, fmt.Sprintf("job %d is done", s.Answer.Job), func() (bool, error) {
			job, err := api.Job(ctx, s.Answer.Job, s.Secret.Key("view"))
			return job.State == "done" && job.ExitCode != nil && *job.ExitCode == 0, err
		}))
		r, err := api.Receipt(ctx, s.Answer.Job, s.Secret.Key("view"))
		must(t, err)
		charged += r.ChargedMicro
	}
	pot, err := api.Pot(ctx, f.pot.Key("fund"), f.pot.Key("view"))
	must(t, err)
	if pot.ChargedMicro != charged || pot.HeldMicro != held || pot.DepositedMicro != pot.FreeMicro+pot.HeldMicro+pot.ChargedMicro {
		t.Errorf("%d jobs charged %d by their receipts, the others hold %d; the pot: %+v", len(ran), charged, held, pot)
	}
	if charged == 0 || held == 0 {
		t.Errorf("%d was charged, %d held: nothing was shown", charged, held)
	}
}

// lostOrDoubled compares the jobs that were acknowledged with those that the books have.
func lostOrDoubled(acknowledged, kept []uint64) error {
	seen := map[uint64]bool{}
	for _, job := range acknowledged {
		if job == 0 || seen[job] {
			return fmt.Errorf("two submissions, or none, became job %d", job)
		}
		seen[job] = true
	}
	for _, job := range kept {
		if !seen[job] {
			return fmt.Errorf("job %d was acknowledged to nobody", job)
		}
		delete(seen, job)
	}
	for job := range seen {
		return fmt.Errorf("job %d of %d was lost", job, len(acknowledged))
	}
	return nil
}

func TestLostAndDoubledSubmissionsAreFound(t *testing.T) {
	if err := lostOrDoubled([]uint64{3, 1, 2}, []uint64{1, 2, 3}); err != nil {
		t.Errorf("all is well, but: %v", err)
	}
	for name, err := range map[string]error{
		"lost":         lostOrDoubled([]uint64{3, 1, 2}, []uint64{1, 2}),
		"shared":       lostOrDoubled([]uint64{3, 3, 2}, []uint64{2, 3}),
		"one too many": lostOrDoubled([]uint64{3, 1, 2}, []uint64{1, 2, 3, 4}),
		"kept twice":   lostOrDoubled([]uint64{3, 1, 2}, []uint64{1, 2, 3, 3}),
		"no answer":    lostOrDoubled([]uint64{0}, []uint64{1}),
	} {
		if err == nil {
			t.Errorf("%s: not found", name)
		}
	}
	at := func(ms int64) cluster.Submission { return cluster.Submission{Accepted: time.UnixMilli(ms)} }
	if got := silence([]cluster.Submission{at(0), at(900), at(1000), at(2500), at(2600)}, time.UnixMilli(950)); got != 1500*time.Millisecond {
		t.Errorf("nothing was accepted for %s", got)
	}
}
