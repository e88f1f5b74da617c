package consensus

import (
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/consensus/machine"
)

// A newer build's snapshot ends the start, before raft looks for an older one whose log is gone.
func TestASnapshotOfANewerBuildEndsTheStart(t *testing.T) {
	n := &Node{cfg: Config{Dir: t.TempDir()}}
	s, err := raft.NewFileSnapshotStore(filepath.Join(n.cfg.Dir, "raft"), 2, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.newestWhole(s); err != nil {
		t.Errorf("without a snapshot: %v", err)
	}
	keep := func(index uint64, content string) {
		t.Helper()
		sink, err := s.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, nil)
		if err == nil {
			_, err = sink.Write([]byte(content))
		}
		if err == nil {
			err = sink.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The offset, the first line, then the single values: here the format alone, as CBOR {3: 99}.
	keep(7, "\x00\x00\x00\x00\x00\x00\x00\x00coinop snapshot 1\n\xff\x04\xa1\x03\x18\x63")
	if _, _, err := n.newestWhole(s); !errors.Is(err, machine.ErrNewer) {
		t.Errorf("a snapshot of format 99: %v", err)
	}
	keep(8, "what is no snapshot hides none")
	if _, _, err := n.newestWhole(s); !errors.Is(err, machine.ErrNewer) {
		t.Errorf("a damaged snapshot, and one of format 99 before it: %v", err)
	}
}

// What raft goes on to hand over after an entry of a newer build is not applied, and not saved.
func TestNothingIsAppliedAfterAnEntryOfANewerBuild(t *testing.T) {
	var why error
	f := newFSM(Config{Dir: t.TempDir()}, func(err error) { why = err })
	entry := func(index uint64, c machine.Command) *raft.Log {
		t.Helper()
		data, err := machine.Encode(1, c)
		if err != nil {
			t.Fatal(err)
		}
		return &raft.Log{Index: index, Type: raft.LogCommand, Data: data}
	}
	newer := machine.Init{Cluster: machine.ClusterID{1}, Unit: "credit", Format: machine.FormatMax + 1, Operator: machine.TokenHash{1}}
	results := f.ApplyBatch([]*raft.Log{entry(1, machine.Format{Format: 1}), entry(2, newer), entry(3, machine.Format{Format: 1})})
	if results[0] == nil || results[1] != nil || results[2] != nil || !errors.Is(why, machine.ErrNewer) {
		t.Errorf("%v; %v", results, why)
	}
	if results := f.ApplyBatch([]*raft.Log{entry(4, machine.Format{Format: 1})}); results[0] != nil || f.view().Index() != 1 || f.applied.now() != 1 {
		t.Errorf("%v; entry %d is applied", results, f.view().Index())
	}
	if _, err := f.Snapshot(); !errors.Is(err, errNotAll) {
		t.Errorf("a snapshot: %v", err)
	}
}
