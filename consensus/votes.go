package consensus

import "github.com/hashicorp/raft"

// candidate is raft's transport, but for how votes are asked for. Raft says that whoever is asked judges the candidate's log
// and not its own members; hashicorp/raft refuses a candidate that its own log does not name as a voter. A server that was
// away while others joined is then the last vote that is lacking and never gives it: no leader can tell it of them, because
// there is none without it. Who may ask at all is the port's business, which lets in members alone.
type candidate struct{ *raft.NetworkTransport }

// RequestVote is part of raft.Transport. A candidate without a name is not looked for among the members.
func (c candidate) RequestVote(id raft.ServerID, target raft.ServerAddress, ask *raft.RequestVoteRequest, answer *raft.RequestVoteResponse) error {
	nameless := *ask
	nameless.ID = nil
	return c.NetworkTransport.RequestVote(id, target, &nameless, answer)
}

// RequestPreVote is part of raft.WithPreVote. Here a name is always looked for: who refuses is asked once more in its own,
// which it knows.
func (c candidate) RequestPreVote(id raft.ServerID, target raft.ServerAddress, ask *raft.RequestPreVoteRequest, answer *raft.RequestPreVoteResponse) error {
	err := c.NetworkTransport.RequestPreVote(id, target, ask, answer)
	if err != nil || answer.Granted {
		return err
	}
	theirs := *ask
	theirs.ID = []byte(id)
	*answer = raft.RequestPreVoteResponse{}
	return c.NetworkTransport.RequestPreVote(id, target, &theirs, answer)
}
