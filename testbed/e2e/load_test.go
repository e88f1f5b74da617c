//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

const (
	senders  = 64
	patience = time.Minute // for an answer
	runsOne  = 50          // of so many jobs one runs; the others wait in a pool without machines
	// jobsOfACluster bounds the memory that three servers take here; the load goes on with three others.
	jobsOfACluster = 1_000_000
)

// size is a number that the environment may set; CI has less time than `make e2e`.
func size[T any](t *testing.T, name string, otherwise T, parse func(string) (T, error)) T {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := parse(text)
	must(t, err)
	return n
}

// loaded is three servers under load.
type loaded struct {
	c    *cluster.Cluster
	user cluster.Home
	pot  client.Secret
	load cluster.Load

	mu       sync.Mutex
	accepted []cluster.Submission // guarded by mu
}

// underLoad is three servers, an executor, and a pot for submissions.
func underLoad(t *testing.T, patienceOfAll time.Duration) (context.Context, *loaded) {
	t.Helper()
	ctx, c := newClusterFor(t, patienceOfAll)
	must(t, c.Plan(3))
	return ctx, loadOn(t, ctx, c)
}

// loadOn starts planned servers and prepares the load on them.
func loadOn(t *testing.T, ctx context.Context, c *cluster.Cluster) *loaded {
	t.Helper()
	must(t, c.StartServers(ctx))
	_, err := c.StartExecutor(ctx, "e1", "--cpus", "16", "--memory", "16GiB")
	must(t, err)
	f := &loaded{c: c, user: c.Home("user", c.Addr(), c.TokenFile())}
	for _, args := range [][]string{
		{"operator", "issue", "1000000"}, {"operator", "issue", "1000000"}, {"operator", "issue", "1000000"},
		{"operator", "pool", "set", "empty", "--admission", "trusted", "--floor", "1", "--default-bid", "1"},
		{"pot", "create", "2500000", "--out", filepath.Join(c.Dir, "test.pot")},
	} {
		if r, err := f.user.Run(ctx, args...); err != nil || r.Code != 0 {
			t.Fatal(err, r.Stderr)
		}
	}
	f.pot, err = cluster.ReadPot(filepath.Join(c.Dir, "test.pot"))
	must(t, err)
	apis, err := c.APIs(patience)
	must(t, err)
	t.Cleanup(func() {
		for _, api := range apis {
			api.CloseIdle()
		}
	})
	f.load = cluster.Load{APIs: apis, Pot: f.pot, Senders: senders, Job: jobOf, Accepted: func(s cluster.Submission) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.accepted = append(f.accepted, s)
	}}
	return f
}

func jobOf(n uint64) client.JobSpec {
	j := client.JobSpec{Pool: "empty", CPUMilli: 1000, MemoryBytes: 64 << 20, TimeMs: 1000, BidMicro: 1_000_000, Command: []string{"true"}}
	if n%runsOne == 0 {
		j.Pool, j.TimeMs, j.BidMicro = "", 10_000, 2_000_000
	}
	return j
}

// reach waits until so many submissions of this round were acknowledged.
func (f *loaded) reach(t *testing.T, ctx context.Context, n int) {
	t.Helper()
	must(t, cluster.Until(ctx, patience, fmt.Sprintf("%d submissions are acknowledged", n), func() (bool, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.accepted) >= n, nil
	}))
}

// TestFullLoadElectsNobody submits as fast as it can.
func TestFullLoadElectsNobody(t *testing.T) {
	left := size(t, "COINOP_E2E_FULL_LOAD", 15*time.Second, time.ParseDuration)
	for n := 1; left > 0 && !t.Failed(); n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) { left -= fullLoad(t, left) })
	}
}

// fullLoad loads a new cluster for a time, or until it is full, and returns for how long it did.
func fullLoad(t *testing.T, long time.Duration) time.Duration {
	t.Helper()
	ctx, f := underLoad(t, 5*time.Minute+2*long)
	var accepted atomic.Int64
	f.load.Accepted = func(cluster.Submission) { accepted.Add(1) }
	_, before, err := f.c.Leader(ctx)
	must(t, err)
	began := time.Now()
	halt := f.load.Start(ctx)
	defer halt() //nolint:errcheck // called below, where all is well
	must(t, cluster.Until(ctx, long+patience, "the time is over, the cluster full, or the leader another one", func() (bool, error) {
		if time.Since(began) > long || accepted.Load() > jobsOfACluster {
			return true, nil
		}
		list, err := f.load.APIs[0].ServerList(ctx)
		return err == nil && list.Term != before.Term, err
	}))
	must(t, halt())
	took := time.Since(began)
	_, after, err := f.c.Leader(ctx)
	must(t, err)
	n := accepted.Load()
	t.Logf("%d submissions in %.0f s, %.0f a second, all in term %d", n, took.Seconds(), float64(n)/took.Seconds(), before.Term)
	if after.Term != before.Term {
		t.Errorf("the term went from %d to %d without a cause", before.Term, after.Term)
	}
	if float64(n) < leastOfARound*took.Seconds() {
		t.Errorf("%d submissions are no load", n)
	}
	must(t, f.c.Balanced(ctx))
	return took
}
