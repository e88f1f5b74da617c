//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/testbed/cluster"
)

// replace puts a new server in an old one's place while submissions come in, and takes the old one's process away.
func (f *loaded) replace(t *testing.T, ctx context.Context, old *cluster.Server) {
	t.Helper()
	apis, err := f.c.APIs(patience)
	must(t, err)
	defer func() {
		for _, api := range apis {
			api.CloseIdle()
		}
	}()
	f.load.APIs = apis
	known := len(f.accepted)
	halt := f.load.Start(ctx)
	defer halt() //nolint:errcheck // called below, where all is well
	f.reach(t, ctx, known+leastOfARound)
	must(t, f.c.Plan(1))
	others := slices.DeleteFunc(slices.Clone(f.c.Servers), func(s *cluster.Server) bool { return s == old })
	must(t, f.c.Join(ctx, others[len(others)-1], others[0]))
	leader, list, err := f.c.Leader(ctx)
	must(t, err)
	id := ""
	for _, s := range list.Servers {
		if strings.TrimPrefix(s.HTTP, "http://") == old.HTTP {
			id = s.ID
		}
	}
	began := time.Now()
	if r, err := f.c.Operator().Run(ctx, "operator", "servers", "remove", id); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	f.c.Servers = others
	must(t, old.Stop(patience))
	f.mu.Lock()
	known = len(f.accepted)
	f.mu.Unlock()
	f.reach(t, ctx, known+leastOfARound)
	must(t, halt())
	slices.SortFunc(f.accepted, func(a, b cluster.Submission) int { return a.Accepted.Compare(b.Accepted) })
	silent := silence(f.accepted, began)
	t.Logf("%s replaced by %s; it led: %t; nothing accepted for %.2f s", old.Name, others[len(others)-1].Name, leader == old, silent.Seconds())
	if silent > silentMost {
		t.Errorf("nothing was accepted for %s", silent)
	}
}

// TestFiveServersAreReplacedOneByOneUnderLoad ends with none of those that began.
func TestFiveServersAreReplacedOneByOneUnderLoad(t *testing.T) {
	replaced := size(t, "COINOP_E2E_REPLACED", 5, strconv.Atoi)
	ctx, c := newClusterFor(t, 10*time.Minute)
	must(t, c.Plan(5))
	f := loadOn(t, ctx, c)
	f.load.PerSecond = 300
	k := count(t, ctx, c, f.user)
	first := slices.Clone(c.Servers)
	for _, old := range first[:replaced] {
		f.replace(t, ctx, old)
	}
	f.user = c.Home("user", c.Addr()+","+first[0].HTTP, c.TokenFile()) // the wallet knows the mint by that address
	must(t, c.Level(ctx))
	t.Logf("job %d: process %d has counted all the time; its longest rest was %s", k.job, k.pid, k.undisturbed(t, ctx))
	undisturbed(t, ctx, f.user, submit(t, ctx, f.user, job("--", "echo", "the next one")...), "the next one\n")
	k.end(t, ctx, f.user)
	jobs := []uint64{k.job}
	for _, s := range f.accepted {
		jobs = append(jobs, s.Answer.Job)
	}
	history, err := c.Books(ctx)
	must(t, err)
	last := slices.Max(history.Jobs)
	must(t, lostOrDoubled(append(jobs, last), history.Jobs))
	must(t, c.Balanced(ctx))
	_, list, err := c.Leader(ctx)
	must(t, err)
	if len(list.Servers) != 5 {
		t.Errorf("the servers are %+v", list.Servers)
	}
	for _, old := range first[:replaced] {
		if slices.ContainsFunc(c.Servers, func(s *cluster.Server) bool { return s == old }) || strings.Contains(fmt.Sprint(list.Servers), old.HTTP) {
			t.Errorf("%s is still there", old.Name)
		}
	}
	t.Logf("%d jobs, each of them once; all books end with event %d, %x", len(jobs), history.Last, history.Hash[:8])
}
