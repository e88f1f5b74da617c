package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

const (
	failoverSenders = 16
	failoverLoad    = 10 * time.Second       // before the leader is killed
	onItsWay        = 100 * time.Millisecond // an answer that the killed one had sent may be read this late
	failoverRest    = 15 * time.Second       // in which the others must have gone on
)

// readFailover kills the leader of three under submissions and times how long nothing is accepted.
func readFailover(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	c, err := b.cluster("failover")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := errors.Join(c.Plan(3), c.StartServers(ctx)); err != nil {
		return nil, err
	}
	pot, err := fill(ctx, c.Home("payer", c.Addr(), c.TokenFile()), "900000", true)
	if err != nil {
		return nil, err
	}
	apis, err := c.APIs(failoverRest)
	if err != nil {
		return nil, err
	}
	defer apis[0].CloseIdle()
	load := cluster.Load{
		APIs: apis[:1], Pot: pot, Senders: failoverSenders, Job: func(uint64) client.JobSpec { return small },
	}
	for range b.rounds {
		round, err := failoverRound(ctx, c, load)
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, round)
	}
	return rounds, nil
}

func failoverRound(ctx context.Context, c *cluster.Cluster, load cluster.Load) (_ []reading, err error) {
	_, first, err := c.Leader(ctx)
	if err != nil {
		return nil, err
	}
	var last atomic.Int64 // when a submission was accepted, by the wall clock
	accepted := atomic.Int64{}
	load.Accepted = func(s cluster.Submission) {
		last.Store(s.Accepted.UnixNano())
		accepted.Add(1)
	}
	halt := load.Start(ctx)
	defer func() { err = errors.Join(err, halt()) }()
	if err := rest(ctx, failoverLoad); err != nil {
		return nil, err
	}
	perSecond := float64(accepted.Load()) / failoverLoad.Seconds()
	leader, before, err := c.Leader(ctx)
	if err != nil {
		return nil, err
	}
	if err := leader.Kill(); err != nil {
		return nil, err
	}
	killed := time.Now().UnixNano()
	err = cluster.Until(ctx, failoverRest, "submissions are accepted again", func() (bool, error) {
		return last.Load() > killed+int64(onItsWay), nil
	})
	if err != nil {
		return nil, err
	}
	gap := time.Duration(last.Load() - killed)
	if err := halt(); err != nil {
		return nil, err
	}
	return []reading{
		{"ours", "s", gap.Seconds()},
		{"submissions accepted under the load before, three servers", "/s", perSecond},
		{"elections that nobody asked for, in the load before", "elections", float64(before.Term - first.Term)},
	}, errors.Join(c.Restart(ctx, leader), rest(ctx, time.Second))
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
