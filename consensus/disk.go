package consensus

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

func diskFree(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// diskLoop looks at the free disk. Below the reserve this server hands the lead over, and the next
// leader ends its vote; where nobody can take over, entries are refused, so that what is there
// stays readable. It comes back when the reserve and a tenth are free.
func (n *Node) diskLoop(ctx context.Context, r *raft.Raft) error {
	tick := time.NewTicker(n.cfg.Tuning.Disk)
	defer tick.Stop()
	for {
		n.lookAtDisk(r)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *Node) lookAtDisk(r *raft.Raft) {
	free, err := n.cfg.Free(n.cfg.Dir)
	if err != nil {
		n.cfg.Log.Warn("ask for free disk", "error", err)
		return
	}
	low, _ := n.lowDisk.Load().(string)
	switch {
	case free < n.cfg.Reserve:
		text := fmt.Sprintf("%d MiB are free in %s, below the reserve of %d MiB", free>>20, n.cfg.Dir, n.cfg.Reserve>>20)
		if low == "" {
			n.cfg.Log.Error("the disk is nearly full: this server steps back", "why", text)
		}
		n.lowDisk.Store(text)
		if r.State() == raft.Leader {
			n.stepBack(r, text)
		}
	case low != "" && free > n.cfg.Reserve+n.cfg.Reserve/10:
		n.cfg.Log.Info("there is room on the disk again")
		n.lowDisk.Store("")
		if why, ok := n.refuses.Load().(refusal); ok && errors.Is(why.err, errDiskReserve) {
			n.refuses.Store(refusal{})
		}
	}
}

var errDiskReserve = errors.New("the disk is nearly full")

func (n *Node) stepBack(r *raft.Raft, why string) {
	err := r.LeadershipTransfer().Error()
	if err == nil {
		return
	}
	if old, ok := n.refuses.Load().(refusal); ok && old.err != nil {
		return // it refuses already, perhaps for a graver reason
	}
	n.cfg.Log.Error("nobody can take over; entries are refused", "error", err)
	n.refuses.Store(refusal{err: fmt.Errorf("%w: %s", errDiskReserve, why)})
}
