package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/consensus/call"
	"github.com/coinop/coinop/consensus/machine"
)

// refusal is why no entries are taken, in an atomic.Value, which wants one type always.
type refusal struct{ err error }

const (
	enqueueMax = 5 * time.Second
	retryEvery = 20 * time.Millisecond
)

// Propose has a command carried out by way of the leader, and returns when it is applied here. A
// refusal is a result. Errors are ErrUnknown, ErrNoLeader, ErrReadOnly, or of a command that can't
// be encoded.
func (n *Node) Propose(ctx context.Context, c machine.Command) (machine.Result, error) {
	giveUp := time.NewTimer(n.cfg.Tuning.LeaderWait)
	defer giveUp.Stop()
	for {
		turned := n.turned.next()
		r, err := n.proposeOnce(ctx, c)
		if !errors.Is(err, errRetry) {
			return r, err
		}
		again := time.NewTimer(retryEvery)
		select {
		case <-turned:
		case <-again.C:
		case <-giveUp.C:
			again.Stop()
			return machine.Result{}, ErrNoLeader
		case <-ctx.Done():
			again.Stop()
			return machine.Result{}, fmt.Errorf("%w: %w", ErrNoLeader, ctx.Err())
		}
		again.Stop()
	}
}

func (n *Node) proposeOnce(ctx context.Context, c machine.Command) (machine.Result, error) {
	r, err := n.running()
	if err != nil {
		return machine.Result{}, fmt.Errorf("%w: %w", ErrNoLeader, err) // another server may have one
	}
	// It is not even forwarded: a leader of an older build would not know what it is.
	if since := c.Kind().Since(); since > 1 && since > n.View().Format() {
		return machine.Result{Code: machine.CodeFormat, Detail: fmt.Sprintf(
			"this needs format %d and the cluster's is %d: it rises once every server runs a coinop that reads it", since, n.View().Format())}, nil
	}
	if n.leads.Load() {
		return n.proposeHere(r, c)
	}
	addr, id := r.LeaderWithID()
	if id == "" || string(id) == n.ID() {
		return machine.Result{}, errRetry // nobody leads, or this server does but has not caught up
	}
	return n.proposeThere(ctx, string(id), string(addr), c)
}

// proposeHere waits without a context: a leader that can't commit loses its office within the
// lease, and then every future ends.
func (n *Node) proposeHere(r *raft.Raft, c machine.Command) (machine.Result, error) {
	if why, ok := n.refuses.Load().(refusal); ok && why.err != nil {
		return machine.Result{}, fmt.Errorf("%w: %w", ErrReadOnly, why.err)
	}
	at, ok := n.clock.stamp()
	if !ok {
		return machine.Result{}, errRetry
	}
	entry, err := machine.Encode(at, c)
	if err != nil {
		return machine.Result{}, err
	}
	f, err := n.gather.apply(r, entry)
	if err != nil {
		return machine.Result{}, err
	}
	switch err := f.Error(); {
	case err == nil:
		result, ok := f.Response().(machine.Result)
		if !ok {
			return machine.Result{}, fmt.Errorf("%w: no result", ErrUnknown)
		}
		return result, nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return machine.Result{}, errRetry // it never reached the log
	default:
		return machine.Result{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
}

// Questions between servers.
const (
	askPropose byte = iota + 1
	askIndex
	askStatus
	askSum
	askStop
	askReadOnly
	askSecrets
	askAnnounce
	askMember
)

// forwarded is a result on its way to the follower that asked for it. Events are not in it: the
// follower makes them itself.
type forwarded struct {
	Retry    bool   `cbor:"1,keyasint,omitempty"` // surely not tried
	Unknown  string `cbor:"2,keyasint,omitempty"` // may have been tried
	ReadOnly string `cbor:"3,keyasint,omitempty"`
	Invalid  string `cbor:"4,keyasint,omitempty"`

	Index  uint64   `cbor:"5,keyasint,omitempty"`
	At     int64    `cbor:"6,keyasint,omitempty"`
	Code   string   `cbor:"7,keyasint,omitempty"`
	Detail string   `cbor:"8,keyasint,omitempty"`
	Answer []byte   `cbor:"9,keyasint,omitempty"`
	Sum    [32]byte `cbor:"10,keyasint,omitzero"`
}

// proposeThere sends the command to the leader, which stamps it, and waits until the result is
// applied here too, so that who asked here reads here what was written.
func (n *Node) proposeThere(ctx context.Context, id, addr string, c machine.Command) (machine.Result, error) {
	body, err := machine.Encode(0, c)
	if err != nil {
		return machine.Result{}, err
	}
	answer, err := n.peers.ask(ctx, id, addr, askPropose, body)
	if errors.Is(err, call.ErrNotAsked) {
		return machine.Result{}, errRetry
	}
	if err != nil {
		return machine.Result{}, fmt.Errorf("%w: the leader, server %s: %w", ErrUnknown, id, err)
	}
	var f forwarded
	if err := cbor.Unmarshal(answer, &f); err != nil {
		return machine.Result{}, fmt.Errorf("%w: read the leader's answer: %w", ErrUnknown, err)
	}
	switch {
	case f.Retry:
		return machine.Result{}, errRetry
	case f.Unknown != "":
		return machine.Result{}, fmt.Errorf("%w: the leader, server %s: %s", ErrUnknown, id, f.Unknown)
	case f.ReadOnly != "":
		return machine.Result{}, fmt.Errorf("%w: %s", ErrReadOnly, f.ReadOnly)
	case f.Invalid != "":
		return machine.Result{}, errors.New(f.Invalid)
	}
	if err := n.Wait(ctx, f.Index); err != nil {
		return machine.Result{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return f.result(), nil
}

// answerPropose carries out a follower's command.
func (n *Node) answerPropose(body []byte) ([]byte, error) {
	_, c, err := machine.Decode(body)
	if err != nil {
		return cbor.Marshal(forwarded{Invalid: err.Error()})
	}
	r, err := n.running()
	if err != nil || !n.leads.Load() {
		return cbor.Marshal(forwarded{Retry: true})
	}
	result, err := n.proposeHere(r, c)
	switch {
	case err == nil:
		return cbor.Marshal(forward(result))
	case errors.Is(err, errRetry):
		return cbor.Marshal(forwarded{Retry: true})
	case errors.Is(err, ErrReadOnly):
		return cbor.Marshal(forwarded{ReadOnly: err.Error()})
	case errors.Is(err, ErrUnknown):
		return cbor.Marshal(forwarded{Unknown: err.Error()})
	default:
		return cbor.Marshal(forwarded{Invalid: err.Error()})
	}
}
