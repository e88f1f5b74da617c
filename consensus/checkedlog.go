package consensus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// checkedLog is the log as raft has it. Where it cannot be written, or an entry cannot be read, this server's part ends:
// raft itself would try again on a disk that has just lost something, or panic.
type checkedLog struct {
	Log
	dir  string
	stop func(error) // ends Run
	runs atomic.Bool // raft has started
	lost atomic.Pointer[error]
	last atomic.Uint64 // the last entry that is on the disk

	mu   sync.Mutex // over what was noted and its file
	mark mark
}

// GetLog is part of raft.LogStore.
func (l *checkedLog) GetLog(index uint64, e *raft.Log) error {
	err := l.read(index, e)
	if err == nil || errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	return l.failed(fmt.Errorf("read entry %d of the log in %s: %w; %s", index, l.dir, err, mend))
}

// read checks the sum that StoreLogs has added. Raft-wal's own are for torn writes: it looks at the last one alone.
func (l *checkedLog) read(index uint64, e *raft.Log) (err error) {
	defer func() {
		if recover() != nil {
			err = errDamaged // raft-wal trusts lengths that it reads
		}
	}()
	if err := l.Log.GetLog(index, e); err != nil {
		return err
	}
	if e.Index != index || !bytes.Equal(e.Extensions, entrySum(e)) {
		return errDamaged
	}
	e.Extensions = nil
	return nil
}

// entrySum is over all that raft-wal keeps of an entry.
func entrySum(e *raft.Log) []byte {
	head := make([]byte, 0, 48)
	head = binary.BigEndian.AppendUint64(head, e.Index)
	head = binary.BigEndian.AppendUint64(head, e.Term)
	head = append(head, byte(e.Type))
	head, err := e.AppendedAt.AppendBinary(head)
	if err != nil {
		return nil // an offset from UTC that no place has; raft-wal refuses it
	}
	return binary.BigEndian.AppendUint32(nil, crc32.Update(sumOf(head), castagnoli(), e.Data))
}

// StoreLog is part of raft.LogStore.
func (l *checkedLog) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// StoreLogs is part of raft.LogStore.
func (l *checkedLog) StoreLogs(list []*raft.Log) error {
	summed, entries := make([]*raft.Log, len(list)), make([]raft.Log, len(list))
	for i, e := range list {
		entries[i] = *e
		entries[i].Extensions = entrySum(e)
		summed[i] = &entries[i]
	}
	if err := l.Log.StoreLogs(summed); err != nil {
		return l.unwritten(err)
	}
	if len(list) > 0 {
		l.last.Store(list[len(list)-1].Index)
	}
	return nil
}

// DeleteRange is part of raft.LogStore. What goes at the end was never committed, or is in a snapshot: it may be missing
// at the next start.
func (l *checkedLog) DeleteRange(first, last uint64) error {
	if end := l.last.Load(); first <= end && end <= last {
		l.last.Store(first - 1)
		l.mu.Lock()
		err := l.mark.put(min(l.mark.at, first-1))
		l.mu.Unlock()
		if err != nil {
			return l.failed(err)
		}
	}
	if err := l.Log.DeleteRange(first, last); err != nil {
		return l.unwritten(err)
	}
	return nil
}

// Set is part of raft.StableStore.
func (l *checkedLog) Set(key, value []byte) error {
	if err := l.Log.Set(key, value); err != nil {
		return l.unwritten(err)
	}
	return nil
}

// SetUint64 is part of raft.StableStore.
func (l *checkedLog) SetUint64(key []byte, value uint64) error {
	err := l.Log.SetUint64(key, value)
	if err == nil {
		return nil
	}
	if err = l.unwritten(err); l.runs.Load() {
		runtime.Goexit() // raft panics when it cannot save its term; so the process ends in order, and with the reason
	}
	return err
}

func (l *checkedLog) unwritten(err error) error {
	return l.failed(fmt.Errorf("write the log in %s: %w; look at this disk and start again: what was acknowledged is in the log", l.dir, err))
}

func (l *checkedLog) failed(err error) error {
	l.lost.CompareAndSwap(nil, &err)
	l.stop(err)
	return err
}

// start starts raft, which panics at entries that it cannot read and a term that it cannot save.
func (l *checkedLog) start(newRaft func() (*raft.Raft, error)) (r *raft.Raft, err error) {
	defer func() {
		p := recover()
		switch lost := l.lost.Load(); {
		case lost != nil && r == nil:
			err = *lost
		case p != nil:
			panic(p)
		}
	}()
	if r, err = newRaft(); err != nil {
		return nil, fmt.Errorf("start raft: %w", err)
	}
	l.runs.Store(true)
	return r, nil
}

const noteEvery = time.Second

// noteLoop notes how far the log goes.
func (l *checkedLog) noteLoop(ctx context.Context) error {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := l.note(); err != nil {
			return err
		}
	}
}

func (l *checkedLog) note() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.last.Load()
	if last <= l.mark.at {
		return nil
	}
	err := l.mark.put(last)
	if errors.Is(err, syscall.ENOSPC) {
		return nil // a mark that stays behind promises less
	}
	return err
}
