package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/port"
	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/scheduler"
)

const (
	// leaseTime is how long a task may run on after its executor was last heard (DESIGN.md section 8.2).
	leaseTime = 60 * time.Second
	// leaseMargin is added before the place is given away.
	leaseMargin = 15 * time.Second
	// lostEvery is how often all nodes are looked at for such. The pulse asks at every entry.
	lostEvery = time.Second
	// closingMost is how many connections are closed at a time when office ends: this server has an election to take part in.
	closingMost = 8
	// callMax bounds one proposal on behalf of an executor.
	callMax = 15 * time.Second
)

// office is one term of leadership, as the executors' streams see it.
type office struct {
	term  uint64
	since time.Time // no node is given up as lost before lease and margin have passed since
}

// executors are the machines that have dialled this server.
type executors struct {
	truth   truth
	closing chan struct{} // closed when the server ends
	news    *news
	reports *reports
	verify  *verifier
	leader  func() string // cluster address of the leader, where known
	blobs   api.Blobs
	log     *slog.Logger

	mu       sync.Mutex
	office   *office                        // nil while this server does not lead
	sessions map[scheduler.NodeID]*session  // the newest of each node
	heard    map[scheduler.NodeID]time.Time // when a lease was last granted in this office, or a stream began
	looked   time.Time                      // when all nodes were looked at for lost ones
	wait     sync.WaitGroup
	over     bool // run has ended
}

func newExecutors(s *Server) *executors {
	return &executors{
		truth: s.node, news: s.news, reports: newReports(s.node, s.config.Log), verify: newVerifier(s.node.VerifyLeader),
		blobs: s.blobs, log: s.config.Log, sessions: map[scheduler.NodeID]*session{}, closing: make(chan struct{}),
		leader: func() string {
			leader, _ := s.node.Leader()
			return leader.Cluster
		},
	}
}

// run writes reports and verifies leadership until ctx ends, and then ends all connections.
func (x *executors) run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { x.reports.run(ctx) })
	loops.Go(func() { x.verify.run(ctx) })
	<-ctx.Done()
	close(x.closing)
	loops.Wait()
	x.mu.Lock()
	x.over = true
	x.mu.Unlock()
	x.wait.Wait()
}

// serve speaks with one executor until the connection ends or the server does. The name is that of its certificate, whose
// hash the state has pinned to the node.
func (x *executors) serve(conn net.Conn, name string, cert [32]byte) error {
	node, ok := x.truth.View().NodeByName(name)
	if !ok || node.Cert != cert {
		return errors.Join(errors.New("executor's certificate is pinned to no node"), conn.Close())
	}
	s := &session{executors: x, node: node.ID, name: node.Name, ended: make(chan struct{}), entered: func() { port.Entered(conn) }}
	w, err := wire.Accept(conn, s)
	if err != nil {
		return err
	}
	s.wire = w
	x.enter(s)
	defer x.leave(s)
	select {
	case <-x.closing:
	case <-w.Done():
	}
	close(s.ended)
	return w.Close()
}

// enter makes a session its node's. The one before it, of a connection that broke unseen, is closed.
func (x *executors) enter(s *session) {
	x.mu.Lock()
	old := x.sessions[s.node]
	x.sessions[s.node] = s
	x.mu.Unlock()
	if old != nil {
		x.log.Info("executor dialled again", "node", s.name)
		x.aside(func() { _ = old.wire.Close() })
	}
}

// aside does what need not be waited for, but by run's end. Who comes after that does it itself.
func (x *executors) aside(do func()) {
	x.mu.Lock()
	over := x.over
	if !over {
		x.wait.Go(do)
	}
	x.mu.Unlock()
	if over {
		do()
	}
}

func (x *executors) leave(s *session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.sessions[s.node] == s {
		delete(x.sessions, s.node)
	}
}

// takeOffice lets streams be answered in a new term, from an applied barrier on. Leases are counted on this server's monotonic
// clock: cluster time moves on by hours at once when an old log meets the wall clock.
func (x *executors) takeOffice(term uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.office = &office{term: term, since: time.Now()}
	x.heard = map[scheduler.NodeID]time.Time{}
}

// leaveOffice ends all streams' answers; the executors look for the next leader.
func (x *executors) leaveOffice() {
	x.mu.Lock()
	x.office = nil
	sessions := make([]*session, 0, len(x.sessions))
	for _, s := range x.sessions {
		sessions = append(sessions, s)
	}
	x.mu.Unlock()
	x.aside(func() {
		var closing errgroup.Group
		closing.SetLimit(closingMost)
		for _, s := range sessions {
			closing.Go(s.wire.Close)
		}
		_ = closing.Wait() // they may be broken already
	})
}

func (x *executors) inOffice() (office, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.office == nil {
		return office{}, false
	}
	return *x.office, true
}

// granted notes that a node's lease runs from a report that arrived at a time.
func (x *executors) granted(node scheduler.NodeID, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.heard != nil && at.After(x.heard[node]) {
		x.heard[node] = at
	}
}

// lost lists nodes that take work or have some, and were not heard of for lease and margin.
func (x *executors) lost() []scheduler.NodeID {
	const limit = leaseTime + leaseMargin
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.office == nil || time.Since(x.office.since) < limit || time.Since(x.looked) < lostEvery {
		return nil
	}
	x.looked = time.Now()
	var gone []scheduler.NodeID
	for _, n := range x.truth.View().Nodes() {
		here := n.State == scheduler.NodeUp || n.State == scheduler.NodeDraining || n.Open > 0
		if n.State != scheduler.NodeLost && here && time.Since(x.heard[n.ID]) >= limit {
			gone = append(gone, n.ID)
		}
	}
	return gone
}

// session of a node, if it has dialled this server.
func (x *executors) session(node scheduler.NodeID) (*session, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s, ok := x.sessions[node]
	return s, ok
}

// propose carries a command out for an executor.
func (x *executors) propose(ctx context.Context, c machine.Command) (machine.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	result, err := x.truth.Propose(ctx, c)
	if err != nil {
		return result, err
	}
	return result, result.Err()
}

// factsOf is what the state keeps of an executor's facts.
func factsOf(f *wire.NodeFacts) machine.NodeFacts {
	facts := machine.NodeFacts{
		Has:    scheduler.Resources{CPUMilli: f.CpuMilli, Memory: f.MemoryBytes, Disk: f.DiskBytes, GPUs: f.Gpus},
		Labels: f.Labels, Missing: f.Missing, Version: f.Version, OS: f.Os, Arch: f.Arch,
		Cards: cardsOf(f.Cards), Shares: f.Shares,
	}
	for _, d := range f.Drivers {
		if d.State == wire.DriverState_DRIVER_STATE_UP {
			facts.Drivers = append(facts.Drivers, d.Name)
		}
		facts.DriverFacts = append(facts.DriverFacts, driverFacts(d))
	}
	return facts
}

func driverFacts(d *wire.DriverFacts) scheduler.DriverFacts {
	facts := scheduler.DriverFacts{Name: d.Name, Version: d.Version, Isolation: d.Isolation, State: "starting", Reason: d.Reason, Moves: d.Moves}
	switch d.State {
	case wire.DriverState_DRIVER_STATE_UP:
		facts.State = "up"
	case wire.DriverState_DRIVER_STATE_REFUSED:
		facts.State = "refused"
	}
	for _, ability := range []struct {
		name string
		has  bool
	}{{"pause", d.Pause}, {"suspend", d.Suspend}, {"exec", d.Exec}, {"network", d.Network}, {"images", d.Images}, {scheduler.AbilityShare, d.Share}} {
		if ability.has {
			facts.Can = append(facts.Can, ability.name)
		}
	}
	facts.Can = append(facts.Can, d.Devices...)
	return facts
}

// update tells the state what a machine has become, where that is new or the node was given up.
func (x *executors) update(ctx context.Context, node scheduler.NodeID, f *wire.NodeFacts) error {
	record, ok := x.truth.View().Node(node)
	if !ok {
		return fmt.Errorf("node %d is not known", node)
	}
	facts := factsOf(f)
	if record.State != scheduler.NodeLost && sameFacts(record, facts) {
		return nil
	}
	if _, err := x.propose(ctx, machine.NodeUpdate{Node: node, Facts: facts}); err != nil {
		return fmt.Errorf("update node %s: %w", record.Name, err)
	}
	x.news.loops() // what a machine has is no event, and work may wait for just that
	return nil
}

func sameFacts(n *scheduler.Node, f machine.NodeFacts) bool {
	return n.Has == f.Has && maps.Equal(n.Labels, f.Labels) && slices.Equal(n.Drivers, f.Drivers) &&
		slices.Equal(n.Missing, f.Missing) && n.Version == f.Version && n.OS == f.OS && n.Arch == f.Arch &&
		slices.EqualFunc(n.DriverFacts, f.DriverFacts, scheduler.DriverFacts.Equal) &&
		slices.EqualFunc(n.Cards, f.Cards, scheduler.Card.Equal) && slices.Equal(n.Shares, f.Shares)
}
