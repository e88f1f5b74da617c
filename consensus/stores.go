package consensus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

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

// mend is what an operator can do where a server's files are damaged.
const mend = "what to do: with other servers, take this one out (coinop operator servers remove) and let it join again with an empty folder; alone, restore a saved snapshot (docs/guide.md, \"A damaged server\")"

// openStores opens what raft keeps, and refuses what is damaged or less than this server has held before: it may have
// acknowledged what is missing.
func (n *Node) openStores() (*Stores, *checkedLog, error) {
	mark, err := readMark(n.file(fileReached))
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(n.cfg.Dir, "raft", "log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the folder of the log: %w", err)
	}
	var log Log
	log, err = wal.Open(dir, wal.WithLogger(newRaftLog(n.cfg.Log)), wal.WithSegmentSize(n.cfg.Tuning.SegmentBytes),
		wal.WithMetaStore(&metaFile{must: mark.at > 0}))
	if err != nil {
		return nil, nil, fmt.Errorf("open the log in %s: %w; if its disk is well: %s", dir, err, mend)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(filepath.Join(n.cfg.Dir, "raft"), 2, newRaftLog(n.cfg.Log))
	if err != nil {
		log.Close()
		return nil, nil, fmt.Errorf("open the snapshots in %s: %w", filepath.Join(n.cfg.Dir, "raft"), err)
	}
	s := Stores{Log: log, Snapshots: snapshots}
	if n.cfg.Stores != nil {
		s = n.cfg.Stores(s)
	}
	checked := &checkedLog{Log: s.Log, dir: dir, stop: n.stopRunning, mark: mark}
	s.Log = checked
	if err := n.whole(s, checked); err != nil {
		log.Close()
		return nil, nil, err
	}
	return &s, checked, nil
}

// whole refuses a log and snapshots that do not reach from the first entry to the last that is known to have been there.
func (n *Node) whole(s Stores, log *checkedLog) error {
	first, err := log.FirstIndex()
	if err != nil {
		return fmt.Errorf("look into the log: %w", err)
	}
	last, err := log.LastIndex()
	if err != nil {
		return fmt.Errorf("look into the log: %w", err)
	}
	log.last.Store(last)
	base, damaged, err := n.newestWhole(s.Snapshots)
	if err != nil {
		return err
	}
	lack := ""
	switch {
	case last > base && first > base+1:
		lack = fmt.Sprintf("its log begins with entry %d, and no snapshot tells what was before", first)
	case max(last, base) < log.mark.at:
		lack = fmt.Sprintf("its log goes to entry %d, and has held entry %d (%s)", max(last, base), log.mark.at, log.mark.file)
	case base == 0 && len(damaged) > 0:
		lack = "no snapshot can be read"
	}
	switch {
	case lack != "" && len(damaged) > 0:
		return fmt.Errorf("start from %s: %s; damaged: %s; %s", filepath.Dir(log.dir), lack, strings.Join(damaged, ", "), mend)
	case lack != "":
		return fmt.Errorf("start from %s: %s: the log is damaged, or older than it was; %s", filepath.Dir(log.dir), lack, mend)
	}
	return n.setAside(damaged)
}

// newestWhole is the entry of the snapshot from which raft will start: of the newest that can be read. It tells the
// folders of those that cannot.
func (n *Node) newestWhole(s raft.SnapshotStore) (base uint64, damaged []string, err error) {
	dir := filepath.Join(n.cfg.Dir, "raft", "snapshots")
	folders, err := os.ReadDir(dir)
	if err != nil {
		return 0, nil, fmt.Errorf("list the snapshots: %w", err)
	}
	for _, f := range folders { // raft passes over what it cannot list
		if path := filepath.Join(dir, f.Name()); f.IsDir() && !strings.HasSuffix(path, ".tmp") && !listed(path) {
			damaged = append(damaged, path)
		}
	}
	list, err := s.List()
	if err != nil {
		return 0, nil, fmt.Errorf("list the snapshots: %w", err)
	}
	for _, meta := range list {
		path := filepath.Join(dir, meta.ID)
		if slices.Contains(damaged, path) {
			continue
		}
		err := readable(s, meta.ID)
		switch {
		case errors.Is(err, machine.ErrNewer):
			return 0, nil, err
		case err == nil:
			return meta.Index, damaged, nil
		}
		if _, err := os.Stat(path); err == nil { // otherwise its own name is damaged, and it is among them under its folder's
			damaged = append(damaged, path)
		}
	}
	return 0, damaged, nil
}

// listed says whether what a snapshot tells of itself can be read and is the folder's own.
func listed(path string) bool {
	b, err := os.ReadFile(filepath.Join(path, "meta.json"))
	var meta raft.SnapshotMeta
	return err == nil && json.Unmarshal(b, &meta) == nil && meta.ID == filepath.Base(path) &&
		strings.HasPrefix(meta.ID, fmt.Sprintf("%d-%d-", meta.Term, meta.Index))
}

// readable says whether a snapshot has the bytes that were written, and of which build.
func readable(s raft.SnapshotStore, id string) error {
	_, r, err := s.Open(id)
	if err != nil {
		return fmt.Errorf("open a snapshot: %w", err)
	}
	defer r.Close()
	if _, err = io.CopyN(io.Discard, r, snapshotHead); err == nil {
		err = machine.Readable(r)
	}
	return err
}

// setAside moves damaged snapshots away, where an older one and the log have all: what a server sends to others, and
// makes events of again, is the newest.
func (n *Node) setAside(damaged []string) error {
	for _, path := range damaged {
		to := filepath.Join(n.cfg.Dir, "raft", "damaged", filepath.Base(path))
		n.cfg.Log.Error("a snapshot is damaged: the log is read from an older one", "snapshot", path, "moved to", to)
		err := os.MkdirAll(filepath.Dir(to), 0o700)
		if err == nil {
			err = os.Rename(path, to)
		}
		if err != nil {
			return fmt.Errorf("set a damaged snapshot aside: %w", err)
		}
	}
	return nil
}
