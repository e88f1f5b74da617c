package consensus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// killed is a table of segments that is written once: whoever was to write it again was killed before.
type killed struct {
	metaFile
	wrote bool
}

func (k *killed) CommitState(s types.PersistentState) error {
	if k.wrote {
		return errors.New("killed")
	}
	k.wrote = true
	return k.metaFile.CommitState(s)
}

func openWAL(t *testing.T, dir string, meta types.MetaStore) *wal.WAL {
	t.Helper()
	log, err := wal.Open(dir, wal.WithSegmentSize(1<<16), wal.WithMetaStore(meta), wal.WithLogger(newRaftLog(slog.New(slog.DiscardHandler))))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// fill writes entries until the segment is full and the next one cannot be noted. It returns the last that was written.
func fill(t *testing.T, dir string) uint64 {
	t.Helper()
	log := openWAL(t, dir, &killed{})
	defer log.Close()
	for index := uint64(1); ; index++ {
		err := log.StoreLog(&raft.Log{Index: index, Data: make([]byte, 1000)})
		if errors.Is(err, wal.ErrSealed) {
			return index - 1
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestALogGoesOnWhereItWasKilledAtTheEndOfAFile(t *testing.T) {
	for name, c := range map[string]struct {
		from, to int    // bytes from the end that were not written
		last     uint64 // entries that are lost, rightly
	}{
		"all was written":                         {0, 0, 0},
		"the last write was torn":                 {200, 0, 1},
		"the last write was torn before its end":  {200, 8, 1},
		"nothing of the last write but its index": {8, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			last := fill(t, dir)
			edit(t, filepath.Join(dir, "00000000000000000001-0000000000000000.wal"), func(b []byte) []byte {
				end := len(bytes.TrimRight(b, "\x00"))
				end += (8 - end%8) % 8
				clear(b[end-c.from : end-c.to])
				return b
			})
			last -= c.last
			for range 2 { // it is opened again as it was left
				log := openWAL(t, dir, &metaFile{})
				if at, err := log.LastIndex(); err != nil || at != last {
					t.Fatalf("it ends with entry %d, %v; want %d", at, err, last)
				}
				last++
				if err := log.StoreLog(&raft.Log{Index: last, Data: make([]byte, 1000)}); err != nil {
					t.Fatal(err)
				}
				for index := uint64(1); index <= last; index++ {
					var e raft.Log
					if err := log.GetLog(index, &e); err != nil || e.Index != index || len(e.Data) != 1000 {
						t.Fatalf("entry %d: %v, %v", index, e.Index, err)
					}
				}
				if err := log.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A turned bit can make an index of what is none. Then nothing is taken back.
func TestWhatOnlyLooksLikeAnIndexIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	path := filepath.Join(dir, "00000000000000000001-0000000000000000.wal")
	var turned []byte
	edit(t, path, func(b []byte) []byte {
		first := segmentHead + frameHead + int(binary.LittleEndian.Uint32(b[segmentHead+4:])+7)/8*8
		if b[first] != segment.FrameCommit {
			t.Fatal("no commit is behind the first entry")
		}
		b[first] = segment.FrameIndex
		turned = bytes.Clone(b)
		return b
	})
	_, err := wal.Open(dir, wal.WithSegmentSize(1<<16), wal.WithMetaStore(&metaFile{}))
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, turned) {
		t.Error("it was written to", err)
	}
}
