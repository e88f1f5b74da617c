package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/consensus/machine"
)

// fsm hands committed entries to the machine. Apply, Snapshot and Restore belong to one goroutine
// of raft's.
type fsm struct {
	machine atomic.Pointer[machine.Machine]
	applied *progress // index of the last entry of the log that is applied
	visible atomic.Uint64
	offset  atomic.Uint64 // what entries' indexes are ahead of raft's, since a state of a longer log was restored
	bytes   atomic.Int64  // of entries since the last snapshot
	events  *tail
	sums    *sums
	changed *signal     // at each batch; who looks at the state again waits for it
	newer   atomic.Bool // an entry or a snapshot of a newer build has come: nothing is applied or saved from here on

	departed *departed

	dir       string
	booked    func(context.Context, uint64) error
	outdated  func(error) // is told when newer is set
	log       *slog.Logger
	exclusive sync.Mutex // one snapshot is written at a time
}

func newFSM(cfg Config, outdated func(error)) *fsm {
	f := &fsm{
		applied: newProgress(), events: newTail(cfg.Tuning.EventsMax), sums: newSums(), changed: newSignal(), departed: newDeparted(),
		dir: cfg.Dir, booked: cfg.Booked, outdated: outdated, log: cfg.Log,
	}
	f.machine.Store(machine.New())
	return f
}

func (f *fsm) view() *machine.View { return f.machine.Load().View() }

// Apply is part of raft.FSM.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch is part of raft.BatchingFSM.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs)) // nil: its outcome is unknown here
	if f.newer.Load() {
		return results
	}
	m, offset := f.machine.Load(), f.offset.Load()
	var events []machine.Event
	read := readAhead(logs)
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			continue // a change of members, which raft keeps
		}
		r := m.ApplyRead(l.Index+offset, read(l))
		if r.Newer != nil {
			f.stopFor(fmt.Errorf("apply entry %d: %w", l.Index+offset, r.Newer))
			if logs = logs[:i]; i == 0 {
				return results
			}
			break
		}
		if r.Code == machine.CodePanic {
			f.keepAside(l, r)
		}
		f.sums.add(r.Index, r.Sum)
		f.bytes.Add(int64(len(l.Data)))
		events = append(events, r.Events...)
		results[i] = r
	}
	f.events.add(events)
	last := logs[len(logs)-1].Index + offset
	f.visible.Store(last)
	f.applied.reach(last)
	f.changed.changed()
	f.departed.add(departures(events))
	return results
}

// stopFor ends this server's part, for what it must not apply.
func (f *fsm) stopFor(err error) {
	f.newer.Store(true)
	f.outdated(err)
}

// keepAside writes down an entry that hit a bug: the same bytes through a newer binary tell
// whether it is mended.
func (f *fsm) keepAside(l *raft.Log, r machine.Result) {
	f.log.Error("an entry hit a bug and was refused; its bytes are kept aside", "index", l.Index, "panic", r.Panic)
	name := filepath.Join(f.dir, "panics", fmt.Sprintf("%020d.entry", l.Index))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err == nil {
		err = os.WriteFile(name, l.Data, 0o600)
		if err != nil {
			f.log.Error("keep the entry aside", "index", l.Index, "error", err)
		}
	}
}

// Snapshot is part of raft.FSM: it takes a view and is written later.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.newer.Load() {
		return nil, errNotAll
	}
	return &snapshot{fsm: f, view: f.view(), offset: f.offset.Load(), bytes: f.bytes.Load()}, nil
}

var errNotAll = errors.New("this build has not applied all that raft has handed to it")

// Restore is part of raft.FSM.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	offset, m, err := readSnapshot(r)
	if errors.Is(err, machine.ErrNewer) {
		f.stopFor(err)
	}
	if err != nil {
		return err
	}
	old, v := f.view(), m.View()
	f.machine.Store(m)
	f.offset.Store(offset)
	f.events.jump(v.Seq())
	f.sums.clear()
	f.bytes.Store(0)
	f.visible.Store(v.Index())
	f.applied.reach(v.Index())
	f.changed.changed()
	f.departed.add(missed(old, v))
	return nil
}

const snapshotHead = 8 // bytes of the offset

// readSnapshot reads what Persist wrote: the offset, then the machine's own snapshot.
func readSnapshot(r io.Reader) (uint64, *machine.Machine, error) {
	var head [snapshotHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("read a snapshot's offset: %w", err)
	}
	m, err := restore(r)
	return binary.BigEndian.Uint64(head[:]), m, err
}

// snapshot is a view on its way to the disk.
type snapshot struct {
	fsm    *fsm
	view   *machine.View
	offset uint64
	bytes  int64
}

const bookedWait = time.Minute

// Persist is part of raft.FSMSnapshot. Raft throws log entries away after it, so it waits for the
// book first; a book that stands still only lets the log grow.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	s.fsm.exclusive.Lock()
	defer s.fsm.exclusive.Unlock()
	if s.fsm.booked != nil {
		ctx, cancel := context.WithTimeout(context.Background(), bookedWait)
		err := s.fsm.booked(ctx, s.view.Seq())
		cancel()
		if err != nil {
			_ = sink.Cancel() // the error below is the one that counts
			return fmt.Errorf("the book does not hold the events up to %d: %w", s.view.Seq(), err)
		}
	}
	_, err := sink.Write(binary.BigEndian.AppendUint64(nil, s.offset))
	if err == nil {
		err = machine.Snapshot(s.view, sink)
	}
	if err != nil {
		_ = sink.Cancel() // as above
		return err
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("finish the snapshot: %w", err)
	}
	s.fsm.bytes.Add(-s.bytes)
	return nil
}

// Release is part of raft.FSMSnapshot.
func (s *snapshot) Release() {}
