package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

const (
	noOps       = 3000            // jobs a round
	forkTime    = 2 * time.Second // of the reference
	submissions = 20              // processes a round
)

// readNoOp runs jobs of one task each that do nothing, from their submission until all are settled.
func readNoOp(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	c, h, err := b.dev(ctx, "noop", "--cpus", "256")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	w, err := newNoOps(ctx, h, small)
	if err != nil {
		return nil, err
	}
	defer w.api.CloseIdle()
	if rounds, err = w.rounds(ctx, b.rounds, noOps); err != nil {
		return nil, err
	}
	return rounds, allDone(ctx, h, b.rounds*noOps)
}

// noOpJobs are jobs of one task that does nothing, paid from one pot.
type noOpJobs struct {
	host string
	pot  client.Secret
	api  *client.Client
	jobs *submission
}

func newNoOps(ctx context.Context, h cluster.Home, job client.JobSpec) (*noOpJobs, error) {
	pot, err := fill(ctx, h, "900000", false)
	if err != nil {
		return nil, err
	}
	jobs, err := newSubmission(h.Addr, "", pot, job)
	if err != nil {
		return nil, err
	}
	api, err := client.New(client.Config{Servers: []string{h.Addr}})
	return &noOpJobs{h.Addr, pot, api, jobs}, err
}

// rounds runs n jobs in each, beside what the machine's own processes take.
func (w *noOpJobs) rounds(ctx context.Context, rounds, n int) (all [][]reading, err error) {
	for range rounds {
		forks, err := forkTrue()
		if err != nil {
			return nil, err
		}
		rate, err := w.round(ctx, n)
		if err != nil {
			return nil, err
		}
		all = append(all, []reading{{"ours", "tasks/s", rate}, {"fork and exec of `true`, as many at once as cores", "tasks/s", forks}})
	}
	return all, nil
}

// round runs n jobs, from their submission until all are settled.
func (w *noOpJobs) round(ctx context.Context, n int) (perSecond float64, err error) {
	began := time.Now()
	if sent, err := w.jobs.send(ctx, w.host, flow{n: n, within: time.Minute}); err != nil || sent.accepted != n {
		return 0, fmt.Errorf("%d of %d jobs were taken: %w", sent.accepted, n, err)
	}
	err = cluster.Until(ctx, 2*time.Minute, "all jobs are settled", func() (bool, error) {
		p, err := w.api.Pot(ctx, w.pot.Key("fund"), w.pot.Key("view"))
		return err == nil && p.Jobs == 0 && p.HeldMicro == 0, err
	})
	return float64(n) / time.Since(began).Seconds(), err
}

// allDone wants the last job to have ended well: a task that could not start would be quick too.
func allDone(ctx context.Context, h cluster.Home, want int) error {
	var last client.Job
	if err := h.JSON(ctx, &last, "show", fmt.Sprint(want)); err != nil {
		return err
	}
	if last.Tasks.Done != 1 {
		return fmt.Errorf("job %d did not end with code 0: %+v", want, last.Tasks)
	}
	return nil
}

// forkTrue is how many times a second the machine starts a process that does nothing and hears of its end.
func forkTrue() (float64, error) {
	var (
		n      atomic.Int64
		wait   sync.WaitGroup
		failed atomic.Pointer[error]
	)
	until := time.Now().Add(forkTime)
	for range runtime.NumCPU() {
		wait.Go(func() {
			for time.Now().Before(until) {
				if err := exec.Command("/bin/true").Run(); err != nil {
					failed.Store(&err)
					return
				}
				n.Add(1)
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return 0, fmt.Errorf("run true: %w", *err)
	}
	return float64(n.Load()) / forkTime.Seconds(), nil
}

// readSubmit times whole processes: the wallet is opened, coins are chosen, and change is taken back in each.
func readSubmit(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	c, h, err := b.dev(ctx, "submit", "--cpus", "1")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	for range b.rounds {
		var round []reading
		for _, what := range []struct {
			name string
			args []string
		}{
			{"ours", []string{"submit", "--pay", "5", "--time", "1s", "--memory", "64MiB", "--", "true"}},
			{"`coinop version` as a process", []string{"version"}},
		} {
			var took []float64
			for range submissions {
				began := time.Now()
				if r, err := h.Run(ctx, what.args...); err != nil || r.Code != 0 {
					return nil, fmt.Errorf("coinop %s: %w%s", what.args[0], err, r.Stderr)
				}
				took = append(took, time.Since(began).Seconds()*1000)
			}
			round = append(round, reading{what.name, "ms", median(took)})
		}
		rounds = append(rounds, round)
	}
	return rounds, nil
}

// dev starts `coinop dev` in a folder of its own.
func (b *bench) dev(ctx context.Context, name string, more ...string) (*cluster.Cluster, cluster.Home, error) {
	c, err := b.cluster(name)
	if err != nil {
		return nil, cluster.Home{}, err
	}
	addr, err := cluster.FreeAddr()
	if err != nil {
		return nil, cluster.Home{}, err
	}
	h := c.Home("payer", addr, "")
	return c, h, c.StartDev(ctx, h, more...)
}
