package inproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"

	"github.com/coinop/coinop/executor/identity"
	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/scheduler"
)

// Puppet is a machine that says what it is told to, true or not, and remembers what it hears.
type Puppet struct {
	Name string

	cluster *Cluster
	id      *identity.Identity
	cancel  context.CancelFunc
	link    *wire.Link
	stream  grpc.BidiStreamingClient[wire.Report, wire.Desired]
	read    chan struct{}
	seq     uint64

	mu    sync.Mutex
	heard []*wire.Desired
}

// AddPuppet lets a puppet join. It connects when it is told to.
func (c *Cluster) AddPuppet() *Puppet {
	c.T.Helper()
	p := &Puppet{Name: fmt.Sprintf("p%d", len(c.puppets)), cluster: c}
	var err error
	p.id, err = identity.Join(c.T.Context(), identity.JoinConfig{
		Dir: filepath.Join(c.dir, p.Name), Servers: []string{c.Leader().Config.Cluster}, Token: c.joinToken("executor"),
		Name: p.Name, Pool: "default", Dial: c.Mesh.Host(p.Name).Dial,
		Facts: identity.Facts{CPUMilli: 4000, Memory: 64 << 30},
	})
	if err != nil {
		c.T.Fatal(err)
	}
	c.puppets = append(c.puppets, p)
	return p
}

// Node is the puppet's number.
func (p *Puppet) Node() scheduler.NodeID {
	n, _ := p.cluster.Leader().View().NodeByName(p.Name)
	return n.ID
}

// Connect opens a stream to a server, with the runs that the machine claims to have.
func (p *Puppet) Connect(s *Server, runs ...*wire.RunStatus) {
	p.cluster.T.Helper()
	p.Disconnect()
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	conn, err := p.id.DialBy(ctx, p.cluster.Mesh.Host(p.Name).Dial, []string{s.Config.Cluster})
	p.must(err)
	p.link, err = wire.Connect(conn, wire.UnimplementedNodeServer{})
	p.must(err)
	p.stream, err = p.link.Servers.Sync(ctx)
	p.must(err)
	p.seq, p.heard, p.read = 0, nil, make(chan struct{})
	go func(stream grpc.BidiStreamingClient[wire.Report, wire.Desired], read chan struct{}) {
		defer close(read)
		for {
			d, err := stream.Recv()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.heard = append(p.heard, d)
			p.mu.Unlock()
		}
	}(p.stream, p.read)
	p.send(&wire.Report{Whole: true, Runs: runs, Facts: &wire.NodeFacts{
		Name: p.Name, Pool: "default", Version: "test", Os: "linux", Arch: "amd64",
		CpuMilli: 4000, MemoryBytes: 64 << 30, Drivers: []*wire.DriverFacts{{Name: "process"}},
	}})
	p.cluster.Until("the server has answered", func() bool { return len(p.Heard()) > 0 || p.Closed() })
}

func (p *Puppet) must(err error) {
	p.cluster.T.Helper()
	if err != nil {
		p.cluster.T.Fatalf("%s: %v", p.Name, err)
	}
}

func (p *Puppet) send(r *wire.Report) {
	p.seq++
	r.Seq = p.seq
	if err := p.stream.Send(r); !errors.Is(err, io.EOF) { // of a stream that has ended the reader learns why
		p.must(err)
	}
}

// Say reports runs, and returns the report's number.
func (p *Puppet) Say(runs ...*wire.RunStatus) uint64 {
	p.cluster.T.Helper()
	p.send(&wire.Report{Runs: runs})
	return p.seq
}

// Disconnect ends the connection, if there is one.
func (p *Puppet) Disconnect() {
	if p.link == nil {
		return
	}
	p.cancel()
	_ = p.link.Close() // it may be broken already
	<-p.read
	p.link = nil
}

// Closed says whether the stream has ended.
func (p *Puppet) Closed() bool {
	select {
	case <-p.read:
		return true
	default:
		return false
	}
}

// Heard are the sets of this stream so far.
func (p *Puppet) Heard() []*wire.Desired {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*wire.Desired(nil), p.heard...)
}

// Orders are those of the last set that was no repetition.
func (p *Puppet) Orders() map[uint64]*wire.Order {
	orders := map[uint64]*wire.Order{}
	for _, d := range p.Heard() {
		if d.Same {
			continue
		}
		clear(orders)
		for _, o := range d.Orders {
			orders[o.Run] = o
		}
	}
	return orders
}

// Leased says whether the report of this number got a lease.
func (p *Puppet) Leased(seq uint64) bool {
	for _, d := range p.Heard() {
		if d.Answers >= seq && d.LeaseMs > 0 {
			return true
		}
	}
	return false
}

// Ordered waits for an order of the job's only run, and returns the run.
func (p *Puppet) Ordered(j Job) uint64 {
	p.cluster.T.Helper()
	var run uint64
	p.cluster.Until(fmt.Sprintf("%s is to run job %d", p.Name, j.Job), func() bool {
		for id := range p.Orders() {
			r, ok := p.cluster.Leader().View().Run(scheduler.RunID(id))
			if ok && uint64(r.Job) == j.Job {
				run = id
			}
		}
		return run != 0
	})
	return run
}
