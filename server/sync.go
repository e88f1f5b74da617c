package server

import (
	"context"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// runsMax bounds the runs of one node.
const runsMax = 1 << 20

// session is one executor's connection. It is the wire's Servers for that executor.
type session struct {
	wire.UnimplementedServersServer
	*executors
	node  scheduler.NodeID
	name  string
	wire  *wire.Session
	ended chan struct{} // closed when the connection is gone
	uses  gpuUses

	entered func() // says that another machine may be let in
}

func (s *session) cluster() string {
	id := s.truth.View().Cluster()
	return hex.EncodeToString(id[:])
}

// stream is one Sync call: reports come in on one goroutine, the desired sets go out on another.
type stream struct {
	*session
	office office
	ear    *ear
	out    grpc.BidiStreamingServer[wire.Report, wire.Desired]

	mu       sync.Mutex
	verified uint64         // guarded by mu: seq of the newest report since whose arrival leadership was verified
	arrived  funding.Millis // guarded by mu: when that report arrived; before there is one, when the first did

	// Owned by the goroutine that sends.
	known    map[uint64]bool // runs whose spec the executor has
	sent     []*wire.Order
	versions map[uint64]uint64
	servers  []string
	answered uint64
	applied  uint64
}

// Sync is the executor's one stream: what is against what should be.
func (s *session) Sync(out grpc.BidiStreamingServer[wire.Report, wire.Desired]) error {
	office, ok := s.inOffice()
	if !ok {
		return out.Send(&wire.Desired{Cluster: s.cluster(), NotLeader: true, Leader: s.leader()})
	}
	st := &stream{session: s, office: office, ear: s.news.follow(s.node), out: out,
		known: map[uint64]bool{}, versions: map[uint64]uint64{}}
	defer s.news.unfollow(s.node, st.ear)
	first, err := st.begin()
	if err != nil {
		return err
	}
	// A machine that is back must not be given up again before its first lease is granted.
	s.granted(s.node, time.Now())
	if err := s.update(out.Context(), s.node, first.Facts); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	ctx, cancel := context.WithCancel(out.Context())
	defer cancel()
	var sender sync.WaitGroup
	sender.Go(func() {
		defer cancel() // so that Recv ends too
		if err := st.send(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("executor's stream broke", "node", s.name, "err", err)
		}
	})
	err = st.receive(ctx, first)
	cancel()
	sender.Wait()
	return err
}

// begin reads the first report: the facts and every run, in several parts where they are many.
func (st *stream) begin() (*wire.Report, error) {
	whole, err := st.out.Recv()
	if err != nil {
		return nil, err
	}
	for part := whole; !part.Whole; {
		if part, err = st.out.Recv(); err != nil {
			return nil, err
		}
		whole.Runs = append(whole.Runs, part.Runs...)
		whole.Seq = part.Seq
		if len(whole.Runs) > runsMax {
			break
		}
	}
	if whole.Facts == nil || len(whole.Runs) > runsMax {
		return nil, status.Error(codes.InvalidArgument, "the first report of a stream holds the facts and every run")
	}
	for _, r := range whole.Runs {
		st.known[r.Run] = true
	}
	st.arrived = st.truth.Now()
	return whole, nil
}

// receive takes reports until the stream ends.
func (st *stream) receive(ctx context.Context, report *wire.Report) error {
	facts := report.Facts
	for {
		if err := st.take(ctx, report); err != nil {
			return err
		}
		var err error
		if report, err = st.out.Recv(); err != nil {
			return nil // the executor or the connection is gone; the next stream begins with everything
		}
		if report.Leaving {
			report.Facts = st.leave(report.Facts, facts)
		}
		if report.Facts == nil && st.givenUp() {
			report.Facts = facts
		}
		if report.Facts != nil {
			facts = report.Facts
			if err := st.update(ctx, st.node, report.Facts); err != nil {
				return status.Error(codes.Unavailable, err.Error())
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// givenUp says that the state holds this machine for lost, while here it is speaking.
func (st *stream) givenUp() bool {
	n, ok := st.truth.View().Node(st.node)
	return ok && n.State == scheduler.NodeLost
}

// leave is the facts of an executor that is stopping: it offers nothing any more, so nothing is placed there until it
// is back.
func (st *stream) leave(facts, last *wire.NodeFacts) *wire.NodeFacts {
	if facts == nil {
		facts = last
	}
	facts = proto.CloneOf(facts)
	facts.CpuMilli, facts.MemoryBytes, facts.DiskBytes, facts.Gpus = 0, 0, 0, 0
	facts.Cards = nil
	return facts
}

// take has one report's news written to the log, and its lease granted once leadership is verified.
func (st *stream) take(ctx context.Context, report *wire.Report) error {
	arrived, heard := st.truth.Now(), time.Now()
	if len(report.Runs) > 0 {
		view := st.truth.View()
		for _, s := range report.Runs {
			run, ok := view.Run(scheduler.RunID(s.Run))
			goesOn := ok && slices.Contains(run.Nodes, st.node) && run.State != scheduler.RunEnded
			st.uses.heard(s, goesOn)
			if !goesOn {
				continue // no order names it, so the executor forgets it
			}
			if r, any := translate(run, s, arrived); any {
				st.reports.add(r)
			}
		}
	}
	seq := report.Seq
	st.verify.after(ctx, func() {
		st.granted(st.node, heard)
		st.mu.Lock()
		if seq > st.verified {
			st.verified, st.arrived = seq, arrived
		}
		st.mu.Unlock()
		st.ear.ring()
	})
	return nil
}

// pushGap is the least time from one desired set to the next: a set names every run of the node, and a busy cluster has
// news for it many times in a millisecond. After a quiet moment a set goes out at once.
const pushGap = 5 * time.Millisecond

// send keeps the executor told until ctx ends.
func (st *stream) send(ctx context.Context) error {
	for {
		gap := time.After(pushGap)
		next, err := st.sendOnce()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		var timer <-chan time.Time
		if next > 0 {
			timer = time.After(next)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-st.ended:
			return nil
		case <-st.ear.bell:
		case <-timer:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-st.ended:
			return nil
		case <-gap:
		}
	}
}

// sendOnce sends what is new: orders, or a lease. It returns after which time an order changes by itself.
func (st *stream) sendOnce() (time.Duration, error) {
	told := st.ear.told.Load() // before the view
	view, now := st.truth.View(), st.truth.Now()
	st.mu.Lock()
	verified, arrived := st.verified, st.arrived
	st.mu.Unlock()
	d := desired{view: view, node: st.node, now: now, from: arrived}
	orders := d.orders()
	if len(orders) == 0 {
		st.news.idle(st.node, st.ear, told)
	}
	same := st.number(orders, view.Index())
	if !same || verified > st.answered {
		m := &wire.Desired{
			Cluster: st.cluster(), Term: st.office.term, Applied: view.Index(), Answers: verified,
			AtUnixMs: int64(now), Same: same && st.applied > 0,
		}
		if verified > st.answered {
			m.LeaseMs = leaseTime.Milliseconds()
		}
		if !m.Same {
			m.Orders = st.withSpecs(orders, &d)
		}
		servers := clusterPorts(view)
		if !slices.Equal(servers, st.servers) {
			m.Servers = servers
		}
		if err := st.out.Send(m); err != nil {
			return 0, err
		}
		st.entered()
		st.servers, st.answered, st.applied, st.sent = servers, verified, view.Index(), orders
	}
	if d.next == 0 {
		return 0, nil
	}
	return time.Duration(max(1, d.next-now)) * time.Millisecond, nil
}

// clusterPorts is where executors find the servers.
func clusterPorts(view *machine.View) []string {
	var list []string
	for _, s := range view.Servers() {
		list = append(list, s.Cluster)
	}
	return list
}

// number gives each order its version: the index at which it was first seen to be as it is, which no earlier
// leader can have exceeded. It reports whether nothing has changed but durations.
func (st *stream) number(orders []*wire.Order, applied uint64) bool {
	same := st.applied > 0 && len(orders) == len(st.sent)
	was := make(map[uint64]*wire.Order, len(st.sent))
	for _, o := range st.sent {
		was[o.Run] = o
	}
	versions := make(map[uint64]uint64, len(orders))
	for _, o := range orders {
		before, ok := was[o.Run]
		if ok && sameOrder(before, o) {
			versions[o.Run] = st.versions[o.Run]
			same = same && sameMoney(before, o)
		} else {
			versions[o.Run] = applied
			if ok { // time alone may have changed it: no entry came since
				versions[o.Run] = max(applied, st.versions[o.Run]+1)
			}
			same = false
		}
		o.Version = versions[o.Run]
	}
	st.versions = versions
	return same
}

func sameOrder(a, b *wire.Order) bool {
	return a.Want == b.Want && a.Signal == b.Signal && a.KillDelayMs == b.KillDelayMs && a.LimitMs == b.LimitMs && proto.Equal(a.Notice, b.Notice)
}

// sameMoney reports whether the money ends when it did. Started is left out of both: it only matters to an
// executor that has forgotten, and that one gets a whole set first.
func sameMoney(a, b *wire.Order) bool { return a.FundedUntilUnixMs == b.FundedUntilUnixMs }

// withSpecs adds what to run to orders that the executor hears of for the first time. The orders themselves stay
// as they are: they are compared with the next ones.
func (st *stream) withSpecs(orders []*wire.Order, d *desired) []*wire.Order {
	known := make(map[uint64]bool, len(orders))
	out := make([]*wire.Order, 0, len(orders))
	for _, o := range orders {
		if !st.known[o.Run] {
			run, _ := d.view.Run(scheduler.RunID(o.Run))
			spec, err := spec(d.view, run)
			if err != nil {
				st.log.Error("run cannot be ordered", "run", o.Run, "err", err)
				continue
			}
			o = proto.CloneOf(o)
			o.Spec = spec
		}
		known[o.Run] = true
		out = append(out, o)
	}
	st.known = known
	return out
}
