package consensus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"
)

const (
	transportTimeout = 10 * time.Second
	appendMax        = 1024
	cachedEntries    = 1024 // raft reads each entry again to apply it, and for each follower; raft-wal reads 64 KiB for that
	leavingMax       = 2 * time.Second
)

func (n *Node) raftConfig(id string, notify chan<- bool) *raft.Config {
	t := n.cfg.Tuning
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	c.HeartbeatTimeout = t.Heartbeat
	c.ElectionTimeout = t.Election
	c.LeaderLeaseTimeout = t.Heartbeat
	c.CommitTimeout = t.Commit
	c.MaxAppendEntries = appendMax
	c.BatchApplyCh = true
	c.ShutdownOnRemove = false // it goes on telling why it takes no part
	c.TrailingLogs = t.TrailingLogs
	// Snapshots are taken by bytes, in snapshotLoop; raft's own count of entries must not be first.
	c.SnapshotThreshold = math.MaxUint64
	c.SnapshotInterval = 24 * time.Hour
	c.NotifyCh = notify
	c.Logger = newRaftLog(n.cfg.Log)
	c.NoLegacyTelemetry = true
	return c
}

// runRaft takes part in the log until ctx ends.
func (n *Node) runRaft(ctx context.Context, p *papers, stream *streamLayer) (err error) {
	s, log, err := n.openStores()
	if err != nil {
		return err
	}
	defer s.Log.Close()
	defer stream.Close()
	transport := candidate{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: stream, MaxPool: 4, Timeout: transportTimeout, Logger: newRaftLog(n.cfg.Log),
		// No pipelines: raft waits for ever in one whose reader has left it because a follower refused (hashicorp/raft
		// issue 612). That follower is then sent heartbeats and no entries, and raft never stops.
		MaxRPCsInFlight: 1,
	})}
	defer transport.Close()
	notify := make(chan bool, 16)
	config := n.raftConfig(p.id, notify)
	if err := n.bootstrap(config, p, s, transport); err != nil {
		return err
	}
	recent, err := raft.NewLogCache(cachedEntries, log)
	if err != nil {
		return fmt.Errorf("keep the newest entries in memory: %w", err)
	}
	r, err := log.start(func() (*raft.Raft, error) {
		return raft.NewRaft(config, n.fsm, recent, log, s.Snapshots, transport)
	})
	if err != nil {
		return err
	}
	observations := make(chan raft.Observation, 16)
	observer := raft.NewObserver(observations, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	r.RegisterObserver(observer)
	defer r.DeregisterObserver(observer)
	n.stores.Store(s)
	n.raft.Store(r)
	close(n.ready)
	defer func() {
		n.leave(r)
		err = errors.Join(err, log.note())
	}()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.leadLoop(ctx, notify) })
	group.Go(func() error { return n.observeLoop(ctx, observations) })
	group.Go(func() error { return n.snapshotLoop(ctx, r) })
	group.Go(func() error { return n.diskLoop(ctx, r) })
	group.Go(func() error { return log.noteLoop(ctx) })
	group.Go(func() error { return n.announceLoop(ctx) })
	return group.Wait()
}

// bootstrap writes the first configuration of a new cluster's log: its founder alone.
func (n *Node) bootstrap(config *raft.Config, p *papers, s *Stores, t raft.Transport) error {
	if !p.founder {
		return nil
	}
	has, err := raft.HasExistingState(s.Log, s.Log, s.Snapshots)
	if err != nil {
		return fmt.Errorf("look into the log: %w", err)
	}
	if has {
		return nil
	}
	first := raft.Configuration{Servers: []raft.Server{{
		ID: raft.ServerID(p.id), Address: raft.ServerAddress(n.ClusterAddr()),
	}}}
	if err := raft.BootstrapCluster(config, s.Log, s.Log, s.Snapshots, t, first); err != nil {
		return fmt.Errorf("begin the log: %w", err)
	}
	return nil
}

// leave hands the lead over, so that the others need no election, and stops raft. What raft was given before has to
// be answered first: it leaves unanswered for ever what lies in its channel when it stops.
func (n *Node) leave(r *raft.Raft) {
	n.gather.close()
	n.left.Store(true)
	done := make(chan error, 1)
	go func() {
		err := r.Barrier(leavingMax).Error()
		if err == nil {
			err = r.LeadershipTransfer().Error()
		}
		done <- err
	}()
	select {
	case <-done: //nolint:errcheck // where there is nobody to take over, this says so at once
	case <-time.After(leavingMax):
	}
	n.leads.Store(false)
	if err := r.Shutdown().Error(); err != nil {
		n.cfg.Log.Warn("stop raft", "error", err)
	}
	n.clock.lose()
	n.turned.changed()
}

func (n *Node) observeLoop(ctx context.Context, observations <-chan raft.Observation) error {
	for {
		select {
		case <-observations:
			n.turned.changed()
		case <-ctx.Done():
			return nil
		}
	}
}

// running is raft, once it runs.
func (n *Node) running() (*raft.Raft, error) {
	if r := n.raft.Load(); r != nil && !n.left.Load() {
		return r, nil
	}
	return nil, ErrNotRunning
}

var errRetry = errors.New("nothing was tried: ask again")
