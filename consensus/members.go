package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/consensus/machine"
)

// memberMax bounds one change of members; another leader may be needed for it.
const memberMax = 5 * time.Second

// caughtUp is how many entries a new server may lack when it begins to vote.
const caughtUp = 1000

// membersLoop makes raft's members those of the state: it is told what should be and makes it so.
func (n *Node) membersLoop(ctx context.Context, r *raft.Raft) {
	tick := time.NewTicker(n.cfg.Tuning.Members)
	defer tick.Stop()
	for {
		if err := n.members(ctx, r); err != nil && ctx.Err() == nil {
			n.cfg.Log.Warn("look after the members", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// members does at most one change, the most urgent one.
func (n *Node) members(ctx context.Context, r *raft.Raft) error {
	f := r.GetConfiguration()
	if err := f.Error(); err != nil {
		return fmt.Errorf("read the members: %w", err)
	}
	have := map[string]raft.Server{}
	voting := 0
	for _, s := range f.Configuration().Servers {
		have[string(s.ID)] = s
		if s.Suffrage == raft.Voter {
			voting++
		}
	}
	want := n.Servers()
	known := map[string]bool{}
	for _, s := range want {
		known[s.ID] = true
	}
	for id, s := range have {
		if !known[id] && len(want) > 0 {
			return n.dismiss(r, s, voting)
		}
	}
	lowest := uint32(machine.FormatMax)
	for _, s := range want {
		reads, err := n.member(ctx, r, s, have, voting)
		if err != nil || reads == changedMember {
			return err
		}
		lowest = min(lowest, reads)
	}
	if len(have) == len(known) && lowest > n.View().Format() && n.View().Format() > 0 {
		if _, err := n.proposeHere(r, machine.Format{Format: lowest}); err != nil {
			return fmt.Errorf("raise the format to %d: %w", lowest, err)
		}
	}
	return nil
}

// changedMember stands for the format of a server that was changed just now.
const changedMember = 1<<32 - 1

// member brings one server to where it should be. It returns the newest format that it reads.
func (n *Node) member(ctx context.Context, r *raft.Raft, s *Server, have map[string]raft.Server, voting int) (uint32, error) {
	id, addr := raft.ServerID(s.ID), raft.ServerAddress(s.Cluster)
	is, ok := have[s.ID]
	self := s.ID == n.ID()
	switch {
	case !ok:
		n.cfg.Log.Info("a server joins", "server", s.ID, "address", s.Cluster)
		return changedMember, change("take in", id, r.AddNonvoter(id, addr, 0, memberMax))
	case is.Address != addr && n.cfg.Transport == nil && is.Suffrage == raft.Voter:
		return changedMember, change("move", id, r.AddVoter(id, addr, 0, memberMax))
	case is.Address != addr && n.cfg.Transport == nil:
		return changedMember, change("move", id, r.AddNonvoter(id, addr, 0, memberMax))
	case self:
		return machine.FormatMax, nil
	}
	asking, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	st, _, err := n.statusOf(asking, s.ID, s.Cluster)
	if err != nil {
		return 0, nil // it may be down; then it reads nothing new
	}
	switch {
	// Two voters stay: with one, its disk would be the only copy that counts.
	case is.Suffrage == raft.Voter && st.LowDisk != "" && voting > 2:
		n.cfg.Log.Error("a server leaves the voting", "server", s.ID, "why", st.LowDisk)
		return changedMember, change("end the vote of", id, r.DemoteVoter(id, 0, memberMax))
	case is.Suffrage == raft.Nonvoter && st.LowDisk == "" && st.Applied+caughtUp >= r.CommitIndex():
		n.cfg.Log.Info("a server votes", "server", s.ID)
		return changedMember, change("give a vote to", id, r.AddVoter(id, addr, 0, memberMax))
	}
	return st.Reads, nil
}

func change(what string, id raft.ServerID, f raft.IndexFuture) error {
	if err := f.Error(); err != nil {
		return fmt.Errorf("%s server %s: %w", what, id, err)
	}
	return nil
}

// dismiss takes a server out that the state no longer has. A leader hands over first.
func (n *Node) dismiss(r *raft.Raft, s raft.Server, voting int) error {
	if string(s.ID) == n.ID() {
		if voting < 2 {
			return errors.New("the last server cannot be dismissed")
		}
		if err := r.LeadershipTransfer().Error(); err != nil {
			return fmt.Errorf("hand over the lead before leaving: %w", err)
		}
		return nil
	}
	n.cfg.Log.Info("a server is dismissed", "server", string(s.ID))
	return change("dismiss", s.ID, r.RemoveServer(s.ID, 0, memberMax))
}

// RemoveServer takes a server out of the cluster for good. Who may ask for that is the caller's to
// check; the entry names an operator's token because the machine wants one.
func (n *Node) RemoveServer(ctx context.Context, id string) error {
	if list := n.Servers(); len(list) == 1 && list[0].ID == id {
		return fmt.Errorf("remove server %s: the last server stays", id)
	}
	result, err := n.Propose(ctx, machine.Server{ID: id, Removed: true, Token: n.operatorToken()})
	if err == nil {
		err = result.Err()
	}
	if err != nil {
		return fmt.Errorf("remove server %s: %w", id, err)
	}
	return nil
}

// operatorToken is the hash of an operator's token that is good now; zero if there is none.
func (n *Node) operatorToken() machine.TokenHash {
	v := n.View()
	for _, t := range v.Tokens() {
		if t.Role == machine.RoleOperator && t.Good(v.At()) {
			return t.Hash
		}
	}
	return machine.TokenHash{}
}

// announceLoop tells the state what has changed of this server, and ends Run once it is removed.
func (n *Node) announceLoop(ctx context.Context) error {
	was := false // a member, in the state as it was seen here
	for {
		changed := n.Changed()
		v := n.View()
		s, ok := v.Server(n.ID())
		if was && !ok {
			n.stop(ErrRemoved)
			return nil
		}
		if was = ok; ok {
			if now := n.facts(); s.Cluster != now.Cluster || s.HTTP != now.HTTP || s.Reads != now.Reads || s.Version != now.Version {
				if result, err := n.Propose(ctx, *now); err == nil && result.Code != machine.OK {
					n.cfg.Log.Error("tell the state of this server", "error", result.Err())
				} else if err == nil {
					n.cfg.Log.Info("the state knows this server's new facts", "address", now.Cluster)
				}
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
