package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// turnPage finishes what raft-wal had begun when it was killed, or its disk was full: it writes the last entries of a
// segment with an index behind them, then notes that this segment is full and which comes next. Without the note it takes
// the segment for the one to write to, finds it full, and refuses every entry for ever.
func turnPage(dir string, s *types.PersistentState) (turned bool, err error) {
	if len(s.Segments) == 0 {
		return false, nil
	}
	last := &s.Segments[len(s.Segments)-1]
	if !last.SealTime.IsZero() {
		return false, nil
	}
	w, err := segment.NewFiler(dir, fs.New()).RecoverTail(*last)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // raft-wal makes it
	}
	if err != nil {
		return false, err
	}
	defer w.Close()
	full, index, err := w.Sealed()
	if err != nil || !full {
		return false, err
	}
	path := filepath.Join(dir, segment.FileName(*last))
	whole, err := indexWhole(path, int(index))
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	if !whole {
		return false, wipe(path, int64(index)-frameHead)
	}
	last.SealTime, last.IndexStart, last.MaxIndex = time.Now(), index, w.LastIndex()
	next := types.SegmentInfo{
		ID: s.NextSegmentID, BaseIndex: last.MaxIndex + 1, MinIndex: last.MaxIndex + 1,
		Codec: last.Codec, SizeLimit: last.SizeLimit, CreateTime: time.Now(),
	}
	s.Segments = append(s.Segments, next)
	s.NextSegmentID++
	return true, nil
}

// A segment is a head and frames of whole eights; a frame's head has its kind, and its length or the checksum of all since
// the commit before it.
const (
	segmentHead = 32
	frameHead   = 8
)

// indexWhole says whether the write that ended with an index came to its end.
func indexWhole(path string, index int) (bool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	entries, since := 0, 0
	for at := segmentHead; at+frameHead <= len(b); {
		kind, value := b[at], int(binary.LittleEndian.Uint32(b[at+4:]))
		at += frameHead
		switch kind {
		case segment.FrameEntry:
			entries++
			at += (value + frameHead - 1) / frameHead * frameHead
		case segment.FrameIndex:
			if at != index || value != entries*4 {
				return false, errDamaged // it is none: nothing is to be taken back
			}
			at += (value + frameHead - 1) / frameHead * frameHead
			return at+frameHead <= len(b) && b[at] == segment.FrameCommit &&
				sumOf(b[since:at]) == binary.LittleEndian.Uint32(b[at+4:]), nil
		case segment.FrameCommit:
			since = at
		default:
			return false, errDamaged
		}
	}
	return false, errDamaged
}

// wipe takes back the index of a write that was torn. Raft-wal would have done so with entries alone.
func wipe(path string, from int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, max(0, info.Size()-from)), from)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
