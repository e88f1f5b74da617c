package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/consensus/machine"
)

// Stores is where raft keeps things.
type Stores struct {
	Log       Log
	Snapshots raft.SnapshotStore
}

// Log is raft's log, and the term and the vote that it must remember beside it.
type Log interface {
	raft.LogStore
	raft.StableStore
	raft.MonotonicLogStore
	io.Closer
}

func (n *Node) openStores() (*Stores, error) {
	dir := filepath.Join(n.cfg.Dir, "raft", "log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the log: %w", err)
	}
	log, err := wal.Open(dir, wal.WithLogger(newRaftLog(n.cfg.Log)), wal.WithSegmentSize(n.cfg.Tuning.SegmentBytes))
	if err != nil {
		return nil, fmt.Errorf("open the log in %s: %w", dir, err)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(filepath.Join(n.cfg.Dir, "raft"), 2, newRaftLog(n.cfg.Log))
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("open the snapshots: %w", err)
	}
	s := Stores{Log: log, Snapshots: snapshots}
	if n.cfg.Stores != nil {
		s = n.cfg.Stores(s)
	}
	return &s, nil
}

// readable says whether a newer build has left its snapshot here. Raft would try the one before it, whose log is gone.
func (s *Stores) readable() error {
	list, err := s.Snapshots.List()
	if err != nil {
		return fmt.Errorf("list the snapshots: %w", err)
	}
	if len(list) == 0 {
		return nil
	}
	_, r, err := s.Snapshots.Open(list[0].ID)
	if err != nil {
		return fmt.Errorf("open a snapshot: %w", err)
	}
	defer r.Close()
	if _, err = io.CopyN(io.Discard, r, snapshotHead); err == nil {
		err = machine.Readable(r)
	}
	if errors.Is(err, machine.ErrNewer) {
		return err
	}
	return nil // what else is wrong with it raft will say
}

const (
	transportTimeout = 10 * time.Second
	appendMax        = 1024
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
func (n *Node) runRaft(ctx context.Context, p *papers, stream *streamLayer) error {
	s, err := n.openStores()
	if err != nil {
		return err
	}
	defer s.Log.Close()
	defer stream.Close()
	if err := s.readable(); err != nil {
		return err
	}
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: stream, MaxPool: 4, Timeout: transportTimeout, Logger: newRaftLog(n.cfg.Log),
		// No pipelines: raft waits for ever in one whose reader has left it because a follower refused (hashicorp/raft
		// issue 612). That follower is then sent heartbeats and no entries, and raft never stops.
		MaxRPCsInFlight: 1,
	})
	defer transport.Close()
	notify := make(chan bool, 16)
	config := n.raftConfig(p.id, notify)
	if err := n.bootstrap(config, p, s, transport); err != nil {
		return err
	}
	r, err := raft.NewRaft(config, n.fsm, s.Log, s.Log, s.Snapshots, transport)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
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
	defer n.leave(r)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.leadLoop(ctx, notify) })
	group.Go(func() error { return n.observeLoop(ctx, observations) })
	group.Go(func() error { return n.snapshotLoop(ctx, r) })
	group.Go(func() error { return n.diskLoop(ctx, r) })
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
