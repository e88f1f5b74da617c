//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

const (
	submissions = 300
	senders     = 16
	killAfter   = 80 // acknowledged submissions
)

// sent is one submission: its request, and every answer that was had for it.
type sent struct {
	request client.Outbound
	secret  client.Secret
	job     uint64
}

func TestNoSubmissionIsLostOrDoubledWhenTheLeaderDies(t *testing.T) {
	ctx, c := newCluster(t)
	must(t, c.Plan(3))
	must(t, c.StartServers(ctx))
	_, err := c.StartExecutor(ctx, "e1", "--cpus", "64", "--memory", "64GiB")
	must(t, err)
	h := c.Home("user", c.Addr(), c.TokenFile())
	if r, err := h.Run(ctx, "operator", "issue", "100000"); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	long := submit(t, ctx, h, job("--", "sh", "-c", "sleep 15; echo undisturbed")...)
	await(t, ctx, h, long, "running")
	potFile := filepath.Join(c.Dir, "test.pot")
	if r, err := h.Run(ctx, "pot", "create", "50000", "--out", potFile); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	pot, err := cluster.ReadPot(potFile)
	must(t, err)
	leader, before, err := c.Leader(ctx)
	must(t, err)
	all := prepare(t, pot)
	killed := make(chan error, 1)
	send(t, ctx, newClient(t, c), all, func() { go func() { killed <- leader.Kill() }() })
	must(t, <-killed)
	_, after, err := c.Leader(ctx)
	must(t, err)
	if after.Term <= before.Term {
		t.Errorf("the term went from %d to %d: nothing was broken", before.Term, after.Term)
	}
	eachOnce(t, ctx, c, h, all)
	undisturbed(t, ctx, h, long, "undisturbed\n")
	must(t, c.Restart(ctx, leader))
	settled(t, ctx, c, leader, pot, all)
}

func newClient(t *testing.T, c *cluster.Cluster, servers ...string) *client.Client {
	t.Helper()
	token, err := os.ReadFile(c.TokenFile())
	must(t, err)
	if len(servers) == 0 {
		servers = strings.Split(c.Addr(), ",")
	}
	api, err := client.New(client.Config{Servers: servers, Token: strings.TrimSpace(string(token)), Patience: time.Minute})
	must(t, err)
	t.Cleanup(api.CloseIdle)
	return api
}

// prepare writes all requests down before any is sent.
func prepare(t *testing.T, pot client.Secret) []*sent {
	t.Helper()
	var all []*sent
	for i := range submissions {
		s := &sent{secret: client.NewSecret()}
		r := client.SubmitRequest{Pot: pot.Key("fund"), Keys: s.secret.Keys(), Job: client.JobSpec{
			Name: fmt.Sprintf("n%d", i), CPUMilli: 1000, MemoryBytes: 64 << 20, TimeMs: 10_000, BidMicro: 2_000_000, Command: []string{"true"},
		}}
		var err error
		s.request, err = client.PrepareSubmit(ulid.Make().String(), pot.Key("spend"), r)
		must(t, err)
		all = append(all, s)
	}
	return all
}

// send sends all from many senders, and calls back in the middle.
func send(t *testing.T, ctx context.Context, api *client.Client, all []*sent, middle func()) {
	t.Helper()
	var (
		work    = make(chan *sent)
		workers sync.WaitGroup
		mu      sync.Mutex
		done    int
		failed  []error
	)
	for range senders {
		workers.Go(func() {
			for s := range work {
				var answer client.SubmitAnswer
				err := api.Send(ctx, s.request, &answer)
				mu.Lock()
				s.job = answer.Job
				if done++; done == killAfter {
					middle()
				}
				if err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	for _, s := range all {
		work <- s
	}
	close(work)
	workers.Wait()
	must(t, errors.Join(failed...))
}

// eachOnce fails unless every submission is one job: its own, and the same when it is sent again.
func eachOnce(t *testing.T, ctx context.Context, c *cluster.Cluster, h cluster.Home, all []*sent) {
	t.Helper()
	api := newClient(t, c)
	var first, again []uint64
	for _, s := range all {
		var answer client.SubmitAnswer
		must(t, api.Send(ctx, s.request, &answer))
		first, again = append(first, s.job), append(again, answer.Job)
	}
	var list client.JobList
	must(t, h.JSON(ctx, &list, "queue", "--all"))
	newest := first[0]
	for _, j := range list.Jobs {
		newest = max(newest, j.Job)
	}
	must(t, lostOrDoubled(first, again, newest, 1)) // the long one was sent otherwise
}

// lostOrDoubled says what is wrong with the jobs that submissions became at first and when they were sent again.
// Numbers are given without gaps, so one that is nobody's is a submission that was taken twice.
func lostOrDoubled(first, again []uint64, newest, others uint64) error {
	seen := map[uint64]int{}
	for i, job := range first {
		if job == 0 {
			return fmt.Errorf("submission %d became no job", i)
		}
		if other, ok := seen[job]; ok {
			return fmt.Errorf("submissions %d and %d became the same job %d", other, i, job)
		}
		seen[job] = i
		if again[i] != job {
			return fmt.Errorf("submission %d became job %d, and sent again job %d", i, job, again[i])
		}
	}
	if made := uint64(len(first)) + others; newest != made {
		return fmt.Errorf("%d submissions made jobs up to number %d", made, newest)
	}
	return nil
}

func TestLostAndDoubledSubmissionsAreFound(t *testing.T) {
	good := []uint64{3, 1, 2}
	if err := lostOrDoubled(good, good, 4, 1); err != nil {
		t.Errorf("all is well, but: %v", err)
	}
	for name, err := range map[string]error{
		"lost":             lostOrDoubled([]uint64{3, 0, 2}, []uint64{3, 0, 2}, 4, 1),
		"shared":           lostOrDoubled([]uint64{3, 3, 2}, []uint64{3, 3, 2}, 4, 1),
		"another one":      lostOrDoubled(good, []uint64{3, 1, 5}, 4, 1),
		"one that is new":  lostOrDoubled(good, good, 5, 1),
		"one less than it": lostOrDoubled(good, good, 3, 1),
	} {
		if err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

// settled waits at the server that came back until all is done, and compares the pot with the receipts.
func settled(t *testing.T, ctx context.Context, c *cluster.Cluster, back *cluster.Server, secret client.Secret, all []*sent) {
	t.Helper()
	api := newClient(t, c, back.HTTP)
	var charged int64
	for _, s := range all {
		must(t, cluster.Until(ctx, 2*time.Minute, fmt.Sprintf("job %d is done", s.job), func() (bool, error) {
			job, err := api.Job(ctx, s.job, s.secret.Key("view"))
			return job.State == "done" && job.ExitCode != nil && *job.ExitCode == 0, err
		}))
		r, err := api.Receipt(ctx, s.job, s.secret.Key("view"))
		must(t, err)
		charged += r.ChargedMicro
	}
	pot, err := api.Pot(ctx, secret.Key("fund"), secret.Key("view"))
	must(t, err)
	if pot.ChargedMicro != charged || pot.HeldMicro != 0 || pot.DepositedMicro != pot.FreeMicro+pot.ChargedMicro {
		t.Errorf("%d jobs charged %d by their receipts; the pot: %+v", len(all), charged, pot)
	}
}
