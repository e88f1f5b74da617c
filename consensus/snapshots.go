package consensus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/consensus/machine"
)

const snapshotLookEvery = time.Second

// snapshotLoop takes a snapshot whenever enough bytes of entries have come since the last one.
func (n *Node) snapshotLoop(ctx context.Context, r *raft.Raft) error {
	tick := time.NewTicker(snapshotLookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if !n.snapshotDue() {
			continue
		}
		if err := n.Compact(); err != nil && ctx.Err() == nil {
			n.cfg.Log.Warn("take a snapshot", "error", err)
		}
	}
}

// snapshotDue says whether enough has come since the last snapshot: a large state, which takes seconds to write, is not
// written anew for entries that are applied in one at the next start.
func (n *Node) snapshotDue() bool {
	bytes := n.fsm.bytes.Load()
	if bytes < n.cfg.Tuning.SnapshotBytes {
		return false
	}
	list, err := n.stores.Load().Snapshots.List()
	return err != nil || len(list) == 0 || bytes >= list[0].Size/4
}

// Compact takes a snapshot now and lets the log forget what lies before it.
func (n *Node) Compact() error {
	r, err := n.running()
	if err != nil {
		return err
	}
	if err := r.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	return nil
}

// SnapshotSave writes the whole state, as it is after all that was acknowledged before the call.
// No secret is in it: neither the mint's nor the authority's.
func (n *Node) SnapshotSave(ctx context.Context, w io.Writer) error {
	if _, err := n.Linearize(ctx); err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	if err := machine.Snapshot(n.View(), w); err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	return nil
}

const restoreMax = 10 * time.Minute

// SnapshotRestore replaces the state by a saved one. It wants a cluster of one server, which the
// others join afterwards: members of the saved state may be gone, or have other certificates.
func (n *Node) SnapshotRestore(ctx context.Context, from io.Reader) error {
	r, err := n.running()
	if err != nil {
		return err
	}
	if !n.Leads() {
		return fmt.Errorf("restore a snapshot: %w: ask the server that leads", ErrNoLeader)
	}
	f := r.GetConfiguration()
	if err := f.Error(); err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	if len(f.Configuration().Servers) != 1 {
		return errors.New("restore a snapshot: the cluster has several servers; restore into a new cluster of one and let the others join it")
	}
	file, size, index, err := n.checkSnapshot(from)
	if err != nil {
		return err
	}
	defer file.Close()
	// Indexes go on from the higher of the saved state's and this cluster's: clients remember them.
	offset := n.fsm.offset.Load()
	if last := r.LastIndex(); index > last {
		offset = max(offset, index-last)
	}
	head := binary.BigEndian.AppendUint64(nil, offset)
	err = r.Restore(&raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Size: size + int64(len(head))},
		io.MultiReader(bytes.NewReader(head), file), restoreMax)
	if err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	if err := n.takeOffice(r); err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	n.settleClock(ctx, r, askClockEvery)
	return n.adopt(ctx)
}

// checkSnapshot reads it once for itself before anything is replaced by it; the file has no name.
func (n *Node) checkSnapshot(from io.Reader) (file *os.File, size int64, index uint64, err error) {
	f, err := os.CreateTemp(n.cfg.Dir, "restore-*")
	if err != nil {
		return nil, 0, 0, fmt.Errorf("restore a snapshot: %w", err)
	}
	os.Remove(f.Name())
	// Coins may have been spent and signed since: what the saved state says of its keysets is old.
	var m *machine.Machine
	if err = machine.StopKeysets(from, f); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		m, err = machine.Restore(f)
	}
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, 0, 0, fmt.Errorf("restore a snapshot: %w", err)
	}
	return f, size, m.View().Index(), nil
}

// adopt makes this server the only one of a restored state. Whoever restores it and who looks after the members may both
// ask for that: the second finds nothing left to remove.
func (n *Node) adopt(ctx context.Context) error {
	select {
	case n.adopting <- struct{}{}:
		defer func() { <-n.adopting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var commands []machine.Command
	for _, s := range n.Servers() {
		if s.ID != n.ID() {
			commands = append(commands, machine.Server{ID: s.ID, Removed: true, Token: n.operatorToken()})
		}
	}
	// Last: a state without servers takes one that brings no join token.
	commands = append(commands, *n.facts())
	for _, c := range commands {
		result, err := n.Propose(ctx, c)
		if err == nil {
			err = result.Err()
		}
		if err != nil {
			return fmt.Errorf("make the restored state this server's: %w", err)
		}
	}
	return nil
}

// Replay makes events again from the newest snapshot and the log after it, and hands visit those
// numbered above seq. It is slow and takes the state's memory once more: what is left when neither
// Events nor a peer's book has them.
func (n *Node) Replay(ctx context.Context, seq uint64, visit func([]machine.Event) error) error {
	s := n.stores.Load()
	if s == nil {
		return ErrNotRunning
	}
	offset, m, err := newestSnapshot(s)
	if err != nil {
		return err
	}
	if have := m.View().Seq(); have > seq {
		return fmt.Errorf("make events after %d again: %w: the log begins after %d", seq, ErrBehind, have)
	}
	end := n.fsm.visible.Load()
	for index := m.View().Index() + 1; index <= end; index++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("make events again: %w", err)
		}
		var l raft.Log
		if err := s.Log.GetLog(index-offset, &l); err != nil {
			return fmt.Errorf("make events again: read entry %d: %w", index, err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		events := m.Apply(index, l.Data).Events
		for len(events) > 0 && events[0].Seq <= seq {
			events = events[1:]
		}
		if len(events) == 0 {
			continue
		}
		if err := visit(events); err != nil {
			return err
		}
	}
	return nil
}

func newestSnapshot(s *Stores) (uint64, *machine.Machine, error) {
	list, err := s.Snapshots.List()
	if err != nil {
		return 0, nil, fmt.Errorf("make events again: list the snapshots: %w", err)
	}
	if len(list) == 0 {
		return 0, machine.New(), nil
	}
	_, r, err := s.Snapshots.Open(list[0].ID)
	if err != nil {
		return 0, nil, fmt.Errorf("make events again: open a snapshot: %w", err)
	}
	defer r.Close()
	return readSnapshot(r)
}
