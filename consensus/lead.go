package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
)

// leadLoop follows raft's word on who leads and does the leader's work while it is this server.
func (n *Node) leadLoop(ctx context.Context, notify <-chan bool) error {
	var office sync.WaitGroup
	resign := func() {}
	defer func() {
		resign()
		office.Wait()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case leads := <-notify:
			resign()
			office.Wait()
			n.retire()
			if leads {
				term, cancel := context.WithCancel(ctx)
				resign = cancel
				office.Go(func() { n.hold(term) })
			}
		}
	}
}

func (n *Node) retire() {
	n.clock.lose()
	n.alarm.Store("") // it was about this server's time in office
	if n.leads.Swap(false) {
		n.tell(false)
	}
	n.turned.changed()
}

// tell replaces what the reader of LeaderCh has not read yet.
func (n *Node) tell(leads bool) {
	select {
	case <-n.leadCh:
	default:
	}
	n.leadCh <- leads // there is room: only leadLoop's goroutines write, one at a time
}

// hold is a term in office: first apply all that came before, then propose and look after members.
func (n *Node) hold(ctx context.Context) {
	r, err := n.running()
	for err != nil { // raft may tell before Run has noted it
		select {
		case <-n.ready:
			r, err = n.running()
		case <-ctx.Done():
			return
		}
	}
	if err := n.takeOffice(r); err != nil {
		n.cfg.Log.Warn("take the lead", "error", err)
		return // raft tells when the lead is lost, or has lost it
	}
	if ctx.Err() != nil {
		return
	}
	if err := n.first(r); err != nil {
		n.cfg.Log.Error("make the cluster", "error", err)
		n.stopRunning(err)
		return
	}
	last := n.View().At()
	settled := n.settleClock(ctx, r, firstClockMax)
	n.rested.Store(int64(n.Now() - last))
	n.leads.Store(true)
	n.turned.changed()
	n.tell(true)
	n.cfg.Log.Info("this server leads", "server", n.ID(), "term", r.CurrentTerm())
	var work sync.WaitGroup
	if !settled {
		work.Go(func() { n.keepAskingForClocks(ctx, r) })
	}
	work.Go(func() { n.membersLoop(ctx, r) })
	work.Go(func() { n.sumsLoop(ctx, r) })
	work.Wait()
}

// stopRunning ends Run without forbidding another start.
func (n *Node) stopRunning(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// takeOffice applies all that was committed before, and begins the term's time where it ended.
func (n *Node) takeOffice(r *raft.Raft) error {
	f := r.Barrier(0)
	if err := f.Error(); err != nil {
		return fmt.Errorf("apply what came before: %w", err)
	}
	// The barrier does not reach the machine; without this, a read that waits for it would wait
	// for the next entry.
	if indexed, ok := f.(interface{ Index() uint64 }); ok {
		n.fsm.applied.reach(indexed.Index() + n.fsm.offset.Load())
	}
	n.clock.take(n.View().At())
	return nil
}

// first proposes the first entry of a new cluster.
func (n *Node) first(r *raft.Raft) error {
	p := n.papers.Load()
	if n.View().Format() != 0 || n.cfg.Bootstrap == nil || !p.founder {
		return nil
	}
	// A new cluster has no last stamp to go on from, and nobody to ask.
	n.clock.advance(funding.Millis(n.cfg.Wall().UnixMilli()))
	init := *n.cfg.Bootstrap
	init.Server = n.facts()
	result, err := n.proposeHere(r, init)
	switch {
	case errors.Is(err, errRetry), errors.Is(err, ErrUnknown):
		return nil // the lead was lost; whoever leads next, which is this server, tries again
	case err != nil:
		return fmt.Errorf("propose the first entry: %w", err)
	case result.Code == machine.OK, result.Code == machine.CodeNotFirst:
		return nil
	}
	return fmt.Errorf("propose the first entry: %w", result.Err())
}

// facts is what the state should know of this server.
func (n *Node) facts() *Server {
	p := n.papers.Load()
	return &Server{
		ID: p.id, Cluster: n.ClusterAddr(), HTTP: n.cfg.HTTPAddr, Cert: p.identity.Pin(),
		Reads: machine.FormatMax, Version: n.cfg.Version,
	}
}

const (
	askClockEvery = time.Second
	// firstClockMax is how long a new leader waits for the others' clocks before it begins its work.
	firstClockMax = 300 * time.Millisecond
)

// keepAskingForClocks asks until enough have answered.
func (n *Node) keepAskingForClocks(ctx context.Context, r *raft.Raft) {
	tick := time.NewTicker(askClockEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if n.settleClock(ctx, r, askClockEvery) {
			return
		}
	}
}

// settleClock asks all servers what time it is. If a majority agrees with this one and its wall
// clock lies ahead, cluster time moves on to it; otherwise it goes on from the last stamp, and an
// operator is told. While too few answer, the question stays open: false.
func (n *Node) settleClock(ctx context.Context, r *raft.Raft, patience time.Duration) bool {
	voters, err := voters(r)
	if err != nil {
		return false
	}
	n.alarm.Store("")
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ours, mono := n.cfg.Wall(), time.Now()
	answers := n.askClocks(asking, voters, mono)
	need := len(voters)/2 + 1
	var theirs []time.Time
	for agree(ours, theirs, n.cfg.Tuning.AgreeWithin)+1 < need {
		t, more := <-answers
		if !more {
			if len(theirs)+1 < need {
				return false
			}
			n.raiseAlarm("no majority of servers agrees with this one on the time; cluster time goes on from the last entry")
			return true
		}
		theirs = append(theirs, t)
	}
	wall := funding.Millis(ours.Add(time.Since(mono)).UnixMilli())
	if !n.clock.advance(wall) {
		n.raiseAlarm("cluster time lies ahead of this server's wall clock; it goes on from the last entry")
	}
	return true
}

// askClocks tells what the others' clocks showed at a time of this server's monotonic one, and ends when all have answered
// or the context has ended. Nobody needs to read to the end.
func (n *Node) askClocks(ctx context.Context, voters []raft.Server, mono time.Time) <-chan time.Time {
	answers := make(chan time.Time, len(voters))
	var asked sync.WaitGroup
	for _, v := range voters {
		if string(v.ID) == n.ID() {
			continue
		}
		asked.Go(func() {
			s, took, err := n.statusOf(ctx, string(v.ID), string(v.Address))
			if err != nil {
				return
			}
			since := time.Since(mono) - took/2 // when the other looked at its clock, about
			answers <- time.UnixMilli(s.Wall).Add(-since)
		})
	}
	go func() {
		asked.Wait()
		close(answers)
	}()
	return answers
}

// Rested is how far cluster time had moved on from the last entry when this server took the lead.
func (n *Node) Rested() funding.Millis { return funding.Millis(n.rested.Load()) }

func (n *Node) raiseAlarm(text string) {
	n.alarm.Store(text)
	n.cfg.Log.Error(text, "server", n.ID())
}

func voters(r *raft.Raft) ([]raft.Server, error) {
	f := r.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, fmt.Errorf("read the members: %w", err)
	}
	var list []raft.Server
	for _, s := range f.Configuration().Servers {
		if s.Suffrage == raft.Voter {
			list = append(list, s)
		}
	}
	return list, nil
}
