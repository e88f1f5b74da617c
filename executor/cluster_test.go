package executor

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/coinop/coinop/executor/wire"
)

// cluster is the servers' half, in memory: it holds the orders, remembers what was reported, and answers.
type cluster struct {
	t        testing.TB
	patience time.Duration // of await

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced with every change
	id       string
	term     uint64
	applied  uint64
	lease    time.Duration
	leader   string // address
	orders   map[uint64]*wire.Order
	dead     map[string]bool // addresses where nobody answers
	mute     bool            // reports are read and not answered
	late     time.Duration   // answers take so long
	hang     bool            // blobs never come
	blind    bool            // orders answer no report
	closing  bool
	sessions []*wire.Session
	streams  map[grpc.ServerStream]chan struct{} // told when orders changed
	dialled  []string
	servers  []string // what executors are told
	facts    *wire.NodeFacts
	runs     map[uint64]*wire.RunStatus // newest of each
	history  []*wire.RunStatus
	reports  int
	leaving  bool
	wholes   [][]uint64
	blobs    map[digest][]byte
	puts     int
	gets     int
}

func newCluster(t testing.TB) *cluster {
	c := &cluster{
		t: t, patience: 10 * time.Minute, // virtual, mostly
		changed: make(chan struct{}), id: "test-cluster", term: 1, applied: 1, lease: time.Minute, leader: "a:1",
		orders: map[uint64]*wire.Order{}, dead: map[string]bool{}, streams: map[grpc.ServerStream]chan struct{}{},
		runs: map[uint64]*wire.RunStatus{}, blobs: map[digest][]byte{},
	}
	return c
}

// change does something to the cluster and lets everybody see it.
func (c *cluster) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	c.tellAll()
}

// tellAll wakes those who wait for a change, and sends new orders. The caller holds mu.
func (c *cluster) tellAll() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// locked reads something of the cluster.
func locked[T any](c *cluster, read func() T) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return read()
}

// order adds or replaces orders and sends the whole set.
func (c *cluster) order(orders ...*wire.Order) {
	c.change(func() {
		for _, o := range orders {
			c.orders[o.GetRun()] = o
		}
		c.push()
	})
}

// forget takes runs out of the set.
func (c *cluster) forget(runs ...uint64) {
	c.change(func() {
		for _, run := range runs {
			delete(c.orders, run)
		}
		c.push()
	})
}

func (c *cluster) push() {
	c.applied++
	for _, told := range c.streams {
		poke(told)
	}
}

// await returns when the condition holds. It is asked with mu held.
func (c *cluster) await(what string, condition func() bool) {
	c.t.Helper()
	patience := time.After(c.patience)
	for {
		c.mu.Lock()
		if condition() {
			c.mu.Unlock()
			return
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-patience:
			c.t.Fatalf("in vain waited for: %s", what)
		}
	}
}

func (c *cluster) awaitState(run uint64, state wire.RunState) *wire.RunStatus {
	c.t.Helper()
	var found *wire.RunStatus
	c.await("run to be "+state.String(), func() bool {
		found = c.runs[run]
		return found != nil && found.GetState() == state
	})
	return found
}

func (c *cluster) awaitEnd(run uint64) *wire.RunStatus {
	c.t.Helper()
	return c.awaitState(run, wire.RunState_RUN_STATE_ENDED)
}

func (c *cluster) connect(_ context.Context, address string, node wire.NodeServer) (*wire.Link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialled = append(c.dialled, address)
	c.tellAll()
	if c.dead[address] || c.closing {
		return nil, errors.New("nobody there")
	}
	session, link, err := wire.Pipe(&half{cluster: c, address: address}, node)
	if err != nil {
		return nil, err
	}
	c.sessions = append(c.sessions, session)
	return link, nil
}

// cut breaks all connections, as a network or a server does that goes away.
func (c *cluster) cut() {
	c.mu.Lock()
	sessions := c.sessions
	c.sessions = nil
	c.mu.Unlock()
	for _, s := range sessions {
		_ = s.Close()
	}
}

func (c *cluster) close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.cut()
}

// half is the cluster as one of its servers.
type half struct {
	wire.UnimplementedServersServer
	*cluster
	address string
}

func (h *half) Sync(stream grpc.BidiStreamingServer[wire.Report, wire.Desired]) error {
	h.mu.Lock()
	leader := h.leader
	told := make(chan struct{}, 1)
	if leader == h.address {
		h.streams[stream] = told
	}
	h.mu.Unlock()
	if leader != h.address {
		return stream.Send(&wire.Desired{NotLeader: true, Leader: leader})
	}
	defer h.change(func() { delete(h.streams, stream) })
	reports := make(chan *wire.Report)
	go func() {
		defer close(reports)
		for {
			report, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case reports <- report:
			case <-stream.Context().Done():
				return
			}
		}
	}()
	var answers uint64
	whole := false
	named := map[uint64]bool{}
	for {
		select {
		case report, open := <-reports:
			if !open {
				return nil
			}
			h.note(report, named)
			answers, whole = report.GetSeq(), whole || report.GetWhole()
			h.mu.Lock()
			late := h.late
			h.mu.Unlock()
			if late > 0 {
				if err := pause(stream.Context(), late); err != nil {
					return err
				}
			}
		case <-told:
		case <-stream.Context().Done():
			return nil
		}
		if !whole {
			continue
		}
		if desired := h.desired(answers, named); desired != nil {
			if err := stream.Send(desired); err != nil {
				return err
			}
		}
	}
}

func (h *half) note(report *wire.Report, named map[uint64]bool) {
	h.change(func() {
		h.reports++
		h.leaving = h.leaving || report.GetLeaving()
		if report.GetFacts() != nil {
			h.facts = report.GetFacts()
		}
		for _, r := range report.GetRuns() {
			named[r.GetRun()] = true
			h.runs[r.GetRun()] = r
			h.history = append(h.history, r)
		}
		if report.GetWhole() {
			h.wholes = append(h.wholes, slices.Sorted(maps.Keys(named)))
		}
	})
}

// desired is the answer to a report; nil: none. Specs go out once a stream.
func (h *half) desired(answers uint64, named map[uint64]bool) *wire.Desired {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mute {
		return nil
	}
	d := &wire.Desired{
		Cluster: h.id, Term: h.term, Applied: h.applied, Answers: answers, LeaseMs: h.lease.Milliseconds(),
		AtUnixMs: time.Now().UnixMilli(), Servers: h.servers,
	}
	if h.blind {
		d.Answers, d.LeaseMs = 0, 0
	}
	for _, run := range slices.Sorted(maps.Keys(h.orders)) {
		o := proto.CloneOf(h.orders[run])
		if named[run] {
			o.Spec = nil
		}
		named[run] = true
		d.Orders = append(d.Orders, o)
	}
	return d
}

func (h *half) PutBlob(stream grpc.ClientStreamingServer[wire.Chunk, wire.Blob]) error {
	var blob *wire.Blob
	var b []byte
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if chunk.GetBlob() != nil {
			blob = chunk.GetBlob()
		}
		b = append(b, chunk.GetData()...)
	}
	d := digest(sha256.Sum256(b))
	if want, err := digestOf(blob.GetDigest()); err != nil || want != d || blob.GetSize() != int64(len(b)) {
		return status.Error(codes.InvalidArgument, "these are other bytes")
	}
	h.change(func() { h.blobs[d] = b; h.puts++ })
	return stream.SendAndClose(blob)
}

func (h *half) GetBlob(blob *wire.Blob, stream grpc.ServerStreamingServer[wire.Chunk]) error {
	d, err := digestOf(blob.GetDigest())
	h.mu.Lock()
	b, found := h.blobs[d]
	h.gets++
	hang := h.hang
	h.mu.Unlock()
	if hang {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	if err != nil || !found {
		return status.Error(codes.NotFound, "no server has these bytes")
	}
	for piece := range slices.Chunk(b, 7) {
		if err := stream.Send(&wire.Chunk{Data: piece}); err != nil {
			return err
		}
	}
	return nil
}

// give puts bytes where executors can fetch them.
func (c *cluster) give(b []byte) []byte {
	d := digest(sha256.Sum256(b))
	c.change(func() { c.blobs[d] = b })
	return d[:]
}

// secondStream is what the first whole report of the second stream named. The caller holds mu.
func (c *cluster) secondStream() []uint64 { return c.wholes[1] }

func (c *cluster) fetched() int { return locked(c, func() int { return c.gets }) }
