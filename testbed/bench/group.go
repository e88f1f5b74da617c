package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coinop/coinop/testbed/cluster"
)

// readGroup sends submissions to the leader of three servers, and of five.
func readGroup(ctx context.Context, b *bench) ([][]reading, error) {
	rounds := make([][]reading, b.rounds)
	for _, group := range []struct {
		name, what string
		servers    int
	}{
		{"three", "ours", 3}, {"five", "with five servers", 5},
	} {
		err := b.withGroup(ctx, group.name, group.servers, func(c *cluster.Cluster, s *submission, leader *cluster.Server) error {
			for i := range rounds {
				read, err := groupRound(ctx, c, s, leader)
				if err != nil {
					return err
				}
				rounds[i] = append(rounds[i], reading{group.what, "/s", read.rate},
					reading{group.what + ": the leader's processor time for each", "µs", read.leader},
					reading{group.what + ": a follower's", "µs", read.follower})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return rounds, nil
}

type groupReading struct{ rate, leader, follower float64 } // processor time in µs for each submission

func groupRound(ctx context.Context, c *cluster.Cluster, s *submission, leader *cluster.Server) (groupReading, error) {
	spent := func() (ofLeader, ofOthers time.Duration, err error) {
		for _, server := range c.Servers {
			cpu, err := server.CPU()
			if err != nil {
				return 0, 0, err
			}
			if server == leader {
				ofLeader += cpu
			} else {
				ofOthers += cpu
			}
		}
		return ofLeader, ofOthers, nil
	}
	leader1, others1, err := spent()
	if err != nil {
		return groupReading{}, err
	}
	sent, err := s.send(ctx, leader.HTTP, full)
	if err != nil {
		return groupReading{}, err
	}
	leader2, others2, err := spent()
	each := func(d time.Duration, servers int) float64 {
		return float64(d.Microseconds()) / float64(sent.accepted) / float64(servers)
	}
	return groupReading{sent.rate(), each(leader2-leader1, 1), each(others2-others1, len(c.Servers)-1)}, err
}

func (b *bench) withGroup(ctx context.Context, name string, servers int, do func(c *cluster.Cluster, s *submission, leader *cluster.Server) error) (err error) {
	c, s, err := b.taking(ctx, name, servers)
	if c != nil {
		defer func() { err = errors.Join(err, c.Stop()) }()
	}
	if err != nil {
		return err
	}
	leader, _, err := c.Leader(ctx)
	if err != nil {
		return err
	}
	if err := do(c, s, leader); err != nil {
		return errors.Join(err, errors.New(leader.LogTail(10)))
	}
	return nil
}

// withBare is one server, and beside it another process that only answers.
func (b *bench) withBare(ctx context.Context, name string, do func(c *cluster.Cluster, s *submission, server *cluster.Server, other string) error) error {
	return b.withGroup(ctx, name, 1, func(c *cluster.Cluster, s *submission, server *cluster.Server) (err error) {
		other, stop, err := startBare(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		return do(c, s, server, other)
	})
}

// readLatency sends half of what the server takes, evenly, and reads how long the given hundredths waited at most.
func readLatency(hundredths int) func(context.Context, *bench) ([][]reading, error) {
	const paced = 4 * time.Second
	return func(ctx context.Context, b *bench) (rounds [][]reading, err error) {
		err = b.withGroup(ctx, fmt.Sprint("latency", hundredths), 1, func(_ *cluster.Cluster, s *submission, leader *cluster.Server) error {
			for range b.rounds {
				most, err := s.send(ctx, leader.HTTP, full)
				if err != nil {
					return err
				}
				half := most.rate() / 2
				sent, err := s.send(ctx, leader.HTTP, flow{n: int(half * paced.Seconds()), within: 2 * paced, perSecond: half})
				if err != nil {
					return err
				}
				slices.Sort(sent.latencies)
				rounds = append(rounds, []reading{
					{"ours", "ms", sent.latencies[len(sent.latencies)*hundredths/100]},
					{"half of the load", "/s", sent.rate()},
				})
			}
			return nil
		})
		return rounds, err
	}
}
