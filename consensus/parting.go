package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// sumsLoop compares what the replicas have made of the same log.
func (n *Node) sumsLoop(ctx context.Context, r *raft.Raft) {
	tick := time.NewTicker(n.cfg.Tuning.Checksums)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		n.compareSums(ctx, r)
	}
}

// compareSums asks every server for its checksum after the leader's last entry.
func (n *Node) compareSums(ctx context.Context, r *raft.Raft) {
	f := r.GetConfiguration()
	if f.Error() != nil {
		return
	}
	members := f.Configuration().Servers
	v := n.View()
	votes := map[string]vote{}
	for _, m := range members {
		votes[string(m.ID)] = vote{votes: m.Suffrage == raft.Voter}
	}
	mine := votes[n.ID()]
	mine.said, mine.sum = true, v.Sum()
	votes[n.ID()] = mine
	asking, cancel := context.WithTimeout(ctx, n.cfg.Tuning.Checksums)
	defer cancel()
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, m := range members {
		if string(m.ID) == n.ID() {
			continue
		}
		wait.Go(func() {
			b, err := n.peers.ask(asking, string(m.ID), string(m.Address), askSum, binary.BigEndian.AppendUint64(nil, v.Index()))
			if err != nil || len(b) != 32 {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			o := votes[string(m.ID)]
			o.said, o.sum = true, [32]byte(b)
			votes[string(m.ID)] = o
		})
	}
	wait.Wait()
	n.act(ctx, members, judge(votes), v.Index())
}

// vote is what one server said of its state.
type vote struct {
	votes bool // is a voter
	said  bool
	sum   [32]byte
}

// verdict is who must stop; readOnly: all, because nobody can tell who is right.
type verdict struct {
	stop     map[string]bool
	readOnly bool
}

// judge: a sum that a majority of voters has is right, and whoever said another one stops. If
// those who differ leave no sum a majority even with all who have not spoken, nobody can be right.
func judge(votes map[string]vote) verdict {
	voters, silent := 0, 0
	count := map[[32]byte]int{}
	sums := map[[32]byte]bool{}
	for _, v := range votes {
		if v.said {
			sums[v.sum] = true
		}
		if !v.votes {
			continue
		}
		voters++
		if v.said {
			count[v.sum]++
		} else {
			silent++
		}
	}
	if len(sums) < 2 {
		return verdict{}
	}
	best, right := 0, [32]byte{}
	for sum, c := range count {
		if c > best {
			best, right = c, sum
		}
	}
	switch {
	case best > voters/2:
		d := verdict{stop: map[string]bool{}}
		for id, v := range votes {
			if v.said && v.sum != right {
				d.stop[id] = true
			}
		}
		return d
	case best+silent > voters/2:
		return verdict{} // who has not spoken yet will decide
	default:
		return verdict{readOnly: true}
	}
}

func (n *Node) act(ctx context.Context, members []raft.Server, d verdict, index uint64) {
	tell := func(kind byte, text string, to func(id string) bool) {
		for _, m := range members {
			if string(m.ID) == n.ID() || !to(string(m.ID)) {
				continue
			}
			asking, cancel := context.WithTimeout(ctx, time.Second)
			if _, err := n.peers.ask(asking, string(m.ID), string(m.Address), kind, []byte(text)); err != nil {
				n.cfg.Log.Error("tell a server that the states have parted", "server", string(m.ID), "error", err)
			}
			cancel()
		}
	}
	if d.readOnly {
		text := fmt.Sprintf("the servers' states differ after entry %d and none has a majority", index)
		n.turnReadOnly(text)
		tell(askReadOnly, text, func(string) bool { return true })
		return
	}
	if len(d.stop) == 0 {
		return
	}
	text := fmt.Sprintf("after entry %d", index)
	tell(askStop, text, func(id string) bool { return d.stop[id] })
	if d.stop[n.ID()] {
		n.stop(fmt.Errorf("%w: %s", ErrParted, text))
	}
}

// turnReadOnly makes this server refuse entries until it is started again.
func (n *Node) turnReadOnly(why string) {
	n.cfg.Log.Error("this server takes no more entries", "why", why)
	n.refuses.Store(refusal{err: errors.New(why)})
}

// answerSum waits until this server is there, and says its checksum.
func (n *Node) answerSum(ctx context.Context, body []byte) ([]byte, error) {
	if len(body) != 8 {
		return nil, fmt.Errorf("an index of %d bytes", len(body))
	}
	index := binary.BigEndian.Uint64(body)
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Tuning.Checksums)
	defer cancel()
	if err := n.Wait(ctx, index); err != nil {
		return nil, err
	}
	if sum, ok := n.fsm.sums.at(index); ok {
		return sum[:], nil
	}
	if v := n.View(); v.Index() == index {
		sum := v.Sum()
		return sum[:], nil
	}
	return nil, fmt.Errorf("the checksum after entry %d is not at hand", index)
}
