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
	if len(have) == 1 && !known[n.ID()] {
		return n.adopt(ctx) // a restore that was cut short
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
	if before := n.View().Format(); len(have) == len(known) && lowest > before && before > 0 {
		return n.raiseFormat(r, before, lowest)
	}
	return nil
}

// raiseFormat is for when every server has said that it reads the format. The state also waits for what each has announced.
func (n *Node) raiseFormat(r *raft.Raft, before, to uint32) error {
	result, err := n.proposeHere(r, machine.Format{Format: to})
	if err != nil {
		return fmt.Errorf("raise the format to %d: %w", to, err)
	}
	if result.Code == machine.OK {
		n.cfg.Log.Info("every server reads it: the format is raised", "from", before, "to", to)
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
	case is.Address != addr && is.Suffrage == raft.Voter:
		return changedMember, change("move", id, r.AddVoter(id, addr, 0, memberMax))
	case is.Address != addr:
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
	case is.Suffrage == raft.Nonvoter && st.LowDisk == "" && st.Applied+caughtUp >= r.CommitIndex()+n.fsm.offset.Load():
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

const announceEvery = time.Second

// announceLoop tells the state what has changed of this server, and ends Run once it is removed.
func (n *Node) announceLoop(ctx context.Context) error {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	was := false // a member, in the state as it was seen here
	for {
		changed := n.Changed()
		v := n.View()
		s, ok := v.Server(n.ID())
		if was && !ok && !n.sole() {
			n.stop(ErrRemoved)
			return nil
		}
		if was = ok; ok {
			n.remember()
		}
		if ok || len(v.Servers()) == 0 && n.moved() {
			now := n.facts()
			if s == nil || s.Cluster != now.Cluster || s.HTTP != now.HTTP || s.Reads != now.Reads || s.Version != now.Version {
				if err := n.announce(ctx, *now); err != nil && ctx.Err() == nil {
					n.cfg.Log.Warn("tell the others what has changed of this server", "error", err)
				}
			}
		}
		select {
		case <-changed:
		case <-tick.C: // another try: a server that moved sees no change until the others know
		case <-ctx.Done():
			return nil
		}
	}
}

// moved says that this server's address is not the one that it wrote down last.
func (n *Node) moved() bool {
	for _, a := range n.acquaintances() {
		if a.ID == n.ID() {
			return a.Addr != n.ClusterAddr()
		}
	}
	return false
}

// sole says that this server is its log's only member: then a state that lacks it is a restored
// one, which it will adopt.
func (n *Node) sole() bool {
	r := n.raft.Load()
	if r == nil {
		return false
	}
	list, err := voters(r)
	return err == nil && len(list) == 1 && string(list[0].ID) == n.ID()
}

// announce proposes this server's facts. A server that moved is not reached by the leader and knows
// of none, so it asks every server that it knew to propose for it.
func (n *Node) announce(ctx context.Context, now Server) error {
	var failed error
	if leader, self := n.Leader(); self || leader.ID != "" {
		result, err := n.Propose(ctx, now)
		if err == nil {
			return result.Err()
		}
		failed = err
	}
	body, err := machine.Encode(0, now)
	if err != nil {
		return err
	}
	for _, s := range n.acquaintances() {
		if s.ID == n.ID() {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, memberMax)
		_, err := n.peers.ask(asking, s.ID, s.Addr, askAnnounce, body)
		cancel()
		if err == nil {
			return nil
		}
		failed = errors.Join(failed, fmt.Errorf("server %s: %w", s.ID, err))
	}
	return failed
}

// answerAnnounce proposes another server's facts for it.
func (n *Node) answerAnnounce(ctx context.Context, body []byte) ([]byte, error) {
	_, c, err := machine.Decode(body)
	if err != nil {
		return nil, err
	}
	facts, ok := c.(*machine.Server)
	if !ok || facts.Removed {
		return nil, errors.New("only a server's facts can be announced")
	}
	if s, known := n.View().Server(facts.ID); !known || s.Cert != facts.Cert {
		return nil, errors.New("only a member's facts can be announced")
	}
	result, err := n.Propose(ctx, *facts)
	if err != nil {
		return nil, err
	}
	return nil, result.Err()
}
