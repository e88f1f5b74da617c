package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/coinop/coinop/consensus/call"
)

// Linearize returns when all that was acknowledged anywhere before the call is applied here; what
// View says from then on is not older. It returns the index up to which that holds.
func (n *Node) Linearize(ctx context.Context) (uint64, error) {
	giveUp := time.NewTimer(n.cfg.Tuning.LeaderWait)
	defer giveUp.Stop()
	for {
		turned := n.turned.next()
		index, err := n.linearizeOnce(ctx)
		if !errors.Is(err, errRetry) {
			return index, err
		}
		again := time.NewTimer(retryEvery)
		select {
		case <-turned:
		case <-again.C:
		case <-giveUp.C:
			again.Stop()
			return 0, ErrNoLeader
		case <-ctx.Done():
			again.Stop()
			return 0, fmt.Errorf("%w: %w", ErrNoLeader, ctx.Err())
		}
		again.Stop()
	}
}

func (n *Node) linearizeOnce(ctx context.Context) (uint64, error) {
	r, err := n.running()
	if err != nil {
		return 0, err
	}
	if n.leads.Load() {
		return n.readIndex(ctx)
	}
	addr, id := r.LeaderWithID()
	if id == "" || string(id) == n.ID() {
		return 0, errRetry
	}
	b, err := n.peers.ask(ctx, string(id), string(addr), askIndex, nil)
	var told call.Told
	switch {
	case errors.As(err, &told), errors.Is(err, call.ErrNotAsked):
		return 0, errRetry
	case err != nil && ctx.Err() == nil:
		return 0, errRetry // a read may be asked twice
	case err != nil:
		return 0, fmt.Errorf("ask the leader, server %s, how far the log is: %w", id, err)
	case len(b) != 8:
		return 0, fmt.Errorf("ask the leader, server %s, how far the log is: an answer of %d bytes", id, len(b))
	}
	index := binary.BigEndian.Uint64(b)
	return index, n.Wait(ctx, index)
}

// readIndex is the leader's part: what is committed now, once it is sure that it still leads, and
// has applied that.
func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	r, err := n.running()
	if err != nil {
		return 0, err
	}
	if !n.leads.Load() {
		return 0, errRetry
	}
	committed := r.CommitIndex() + n.fsm.offset.Load()
	if err := r.VerifyLeader().Error(); err != nil {
		return 0, errRetry
	}
	if err := n.Wait(ctx, committed); err != nil {
		return 0, err
	}
	// Followers can't see raft's own entries go by: they are told the last one that they can.
	return n.fsm.visible.Load(), nil
}

// VerifyLeader returns nil if a majority takes this server for the leader still.
func (n *Node) VerifyLeader(context.Context) error {
	r, err := n.running()
	if err != nil {
		return err
	}
	if err := r.VerifyLeader().Error(); err != nil {
		return fmt.Errorf("verify the lead: %w", err)
	}
	return nil
}
