package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/testbed/cluster"
)

const (
	savingBegins = time.Second // the submissions are on their way then
	batch        = 50_000      // submissions that are encoded at once
	longWait     = 10 * time.Minute
)

// withJobs is a server that has live jobs.
func (b *bench) withJobs(ctx context.Context, name string, do func(c *cluster.Cluster, s *submission, server *cluster.Server) error) error {
	return b.withGroup(ctx, name, 1, func(c *cluster.Cluster, s *submission, server *cluster.Server) error {
		if err := s.sendAll(ctx, server.HTTP, b.jobs); err != nil {
			return err
		}
		return do(c, s, server)
	})
}

// sendAll sends n submissions, and wants all of them taken.
func (s *submission) sendAll(ctx context.Context, addr string, n int) error {
	for n > 0 {
		sent, err := s.send(ctx, addr, flow{n: min(n, batch), within: longWait})
		if err != nil {
			return err
		}
		if sent.accepted == 0 {
			return errors.New("no submission was accepted")
		}
		n -= sent.accepted
	}
	return nil
}

// readRestart kills a server that has live jobs and starts it again.
func readRestart(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	err = b.withJobs(ctx, "restart", func(c *cluster.Cluster, s *submission, server *cluster.Server) error {
		for range b.rounds {
			if err := server.Kill(); err != nil {
				return err
			}
			since, bytes, err := sinceSnapshot(server.Dir, b.jobs)
			if err != nil {
				return err
			}
			killed := time.Now()
			if err := c.Restart(ctx, server); err != nil {
				return err
			}
			err = cluster.Until(ctx, longWait, "a submission is accepted", func() (bool, error) {
				sent, err := s.send(ctx, server.HTTP, flow{n: 1, within: longWait})
				return err == nil && sent.accepted == 1, nil
			})
			if err != nil {
				return err
			}
			took := time.Since(killed).Seconds()
			memory, err := server.Memory()
			if err != nil {
				return err
			}
			rounds = append(rounds, []reading{
				{"ours", "s", took}, {"live jobs", "", float64(b.jobs)}, {"entries since the snapshot, at least", "", since},
				{"the snapshot's size", "MiB", bytes / (1 << 20)}, {"memory of the server", "MiB", float64(memory) / (1 << 20)},
			})
		}
		return nil
	})
	return rounds, err
}

// sinceSnapshot is how many of as many submissions came after a server's newest snapshot, and that one's size.
func sinceSnapshot(dir string, submissions int) (entries, bytes float64, err error) {
	list, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*-*-*", "state.bin"))
	if err != nil {
		return 0, 0, err
	}
	newest := uint64(0)
	for _, path := range list {
		var term, index, at uint64
		if _, err := fmt.Sscanf(filepath.Base(filepath.Dir(path)), "%d-%d-%d", &term, &index, &at); err != nil || index < newest {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return 0, 0, err
		}
		newest, bytes = index, float64(info.Size())
	}
	return max(0, float64(submissions)-float64(newest)), bytes, nil
}

// readSaving sends submissions while an operator saves the whole state, and before.
func readSaving(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	err = b.withJobs(ctx, "saving", func(c *cluster.Cluster, s *submission, server *cluster.Server) error {
		for range b.rounds {
			round, err := savingRound(ctx, c, s, server)
			if err != nil {
				return err
			}
			rounds = append(rounds, round)
		}
		return nil
	})
	return rounds, err
}

func savingRound(ctx context.Context, c *cluster.Cluster, s *submission, server *cluster.Server) ([]reading, error) {
	quiet, err := s.send(ctx, server.HTTP, paying)
	if err != nil {
		return nil, err
	}
	before, err := server.Memory()
	if err != nil {
		return nil, err
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var (
		took  time.Duration
		most  = before
		group errgroup.Group
	)
	group.Go(func() error {
		defer stop()
		if err := rest(ctx, savingBegins); err != nil {
			return err
		}
		file, began := filepath.Join(c.Dir, "saved"), time.Now()
		r, err := c.Operator().Run(ctx, "operator", "snapshot", "save", file)
		took = time.Since(began)
		if err == nil && r.Code != 0 {
			err = errors.New(r.Stderr)
		}
		return errors.Join(err, os.Remove(file))
	})
	group.Go(func() error {
		for rest(sending, 20*time.Millisecond) == nil {
			now, err := server.Memory()
			if err != nil {
				return err
			}
			most = max(most, now)
		}
		return nil
	})
	busy, err := s.send(sending, server.HTTP, flow{n: 12_000, within: longWait, perSecond: paying.perSecond})
	if err = errors.Join(err, group.Wait()); err != nil {
		return nil, err
	}
	return []reading{
		{"ours", "ms", slices.Max(busy.latencies)}, {"alone just before", "ms", slices.Max(quiet.latencies)},
		{"it took", "s", took.Seconds()}, {"memory while saving, in that before", "times", float64(most) / float64(before)},
	}, nil
}

// readCatchUp starts a follower again that was away.
func readCatchUp(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	err = b.withGroup(ctx, "catchup", 3, func(c *cluster.Cluster, s *submission, leader *cluster.Server) error {
		away := c.Servers[0]
		if away == leader {
			away = c.Servers[1]
		}
		for range b.rounds {
			if err := away.Kill(); err != nil {
				return err
			}
			if err := s.sendAll(ctx, leader.HTTP, b.jobs/10); err != nil {
				return err
			}
			began := time.Now()
			if err := errors.Join(c.Restart(ctx, away), c.Level(ctx)); err != nil {
				return err
			}
			took := time.Since(began).Seconds()
			history, err := c.Books(ctx)
			if err != nil {
				return err
			}
			rounds = append(rounds, []reading{
				{"ours", "s", took}, {"entries", "", float64(b.jobs / 10)}, {"the same books, with so many events", "", float64(history.Last)},
			})
		}
		return nil
	})
	return rounds, err
}
