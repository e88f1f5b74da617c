package consensus

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/pki"
	"github.com/coinop/coinop/consensus/port"
	"github.com/coinop/coinop/funding"
)

// Node is one server's part in the one truth. New makes it, Run does everything; all other methods
// may be called by any goroutine, and say ErrNotRunning outside of Run.
type Node struct {
	cfg   Config
	fsm   *fsm
	clock *clock
	peers *peers
	mux   *http.ServeMux

	papers atomic.Pointer[papers] // set before ready is closed
	known  atomic.Pointer[[]pki.JoinServer]
	raft   atomic.Pointer[raft.Raft]
	stores atomic.Pointer[Stores]
	port   atomic.Pointer[port.TLS]
	ready  chan struct{}
	fatal  chan error // why Run ends

	gather  gatherer     // of what this server proposes as leader
	left    atomic.Bool  // raft is stopping or has stopped
	leads   atomic.Bool  // applied its own barrier and may propose
	rested  atomic.Int64 // milliseconds; written before leads
	turned  *signal      // the leader, or leads, has changed
	leadCh  chan bool    // the newest change only
	refuses atomic.Value // error: why no entries are taken, nil inside means they are
	lowDisk atomic.Value // string: why this server steps back, or empty
	alarm   atomic.Value // string: what an operator should look at, or empty

	mu       sync.Mutex
	handlers map[string]Handler // of protocols that others asked for

	adopting chan struct{} // of one: who makes a restored state this server's holds it
}

// New checks the configuration.
func New(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, clock: newClock(), mux: http.NewServeMux(),
		ready: make(chan struct{}), adopting: make(chan struct{}, 1), fatal: make(chan error, 1),
		turned: newSignal(), leadCh: make(chan bool, 1), handlers: map[string]Handler{},
	}
	n.fsm = newFSM(cfg, n.stopRunning)
	n.peers = newPeers(n)
	return n, nil
}

// Run takes part until ctx ends or something makes that impossible.
func (n *Node) Run(ctx context.Context) error {
	if err := n.mayStart(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ln, err := n.listen()
	if err != nil {
		return err
	}
	p, err := n.identify(ctx, ln)
	if err != nil {
		ln.Close()
		return err
	}
	n.papers.Store(p)
	n.known.Store(&p.known)
	cluster := n.openPort(ln, p)
	n.port.Store(cluster)
	stream := newStreamLayer(cluster)
	n.handleProtocols(cluster, stream)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return cluster.Serve(ctx) })
	group.Go(func() error { return n.serveHTTP(ctx, cluster) })
	group.Go(func() error { return n.runRaft(ctx, p, stream) })
	group.Go(func() error { return n.cutLoop(ctx, cluster) })
	group.Go(func() error {
		select {
		case err := <-n.fatal:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	err = group.Wait()
	n.peers.close()
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// listen takes the address before anything else: joining tells it to others.
func (n *Node) listen() (net.Listener, error) {
	ln, err := n.cfg.Network.Listen(n.cfg.ClusterAddr)
	if err != nil {
		return nil, fmt.Errorf("listen on the cluster port %s: %w", n.cfg.ClusterAddr, err)
	}
	return ln, nil
}

// identify finds out who this server is: by its folder, as a founder, or by joining.
func (n *Node) identify(ctx context.Context, ln net.Listener) (*papers, error) {
	p, err := n.load()
	switch {
	case err == nil:
		return p, nil
	case !errors.Is(err, errNoPapers):
		return nil, err
	case n.cfg.Bootstrap != nil:
		return n.found(hex.EncodeToString(n.cfg.Bootstrap.Cluster[:]))
	case len(n.cfg.Join) > 0:
		return n.join(ctx, n.advertised(ln))
	}
	return nil, fmt.Errorf("start a server in %s: %w; bootstrap a new cluster or join one", n.cfg.Dir, err)
}

// advertised is where others reach this server.
func (n *Node) advertised(ln net.Listener) string {
	if n.cfg.Advertise != "" {
		return n.cfg.Advertise
	}
	return ln.Addr().String()
}

func (n *Node) openPort(ln net.Listener, p *papers) *port.TLS {
	return port.NewTLS(port.TLSConfig{
		Listener: ln, Network: n.cfg.Network, Identity: p.identity, Admit: n.admit, Log: n.cfg.Log,
		Open:  map[string]bool{ProtoJoin: true},
		Kinds: map[string]pki.Kind{ProtoExecutor: pki.Executor}, Elsewhere: func() bool { return !n.Leads() },
	})
}

func (n *Node) handleProtocols(cluster *port.TLS, stream *streamLayer) {
	cluster.Handle(ProtoRaft, stream.handle)
	cluster.Handle(ProtoForward, n.serveForward)
	cluster.Handle(ProtoJoin, n.serveJoin)
	n.mu.Lock()
	defer n.mu.Unlock()
	for proto, h := range n.handlers {
		cluster.Handle(proto, func(_ context.Context, c net.Conn, peer *x509.Certificate) { h(c, peer) })
	}
}

// HandleALPN has connections of a protocol handed to h, which owns them until it returns. Peers of
// ProtoExecutor are executors that the state knows, of others servers. Call it before Run.
func (n *Node) HandleALPN(proto string, h Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers[proto] = h
}

// Ready is closed when the server takes part.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// View is the state as it is applied here.
func (n *Node) View() *machine.View { return n.fsm.view() }

// Wait returns when the entry of this index is applied here.
func (n *Node) Wait(ctx context.Context, index uint64) error {
	if err := n.fsm.applied.wait(ctx, index); err != nil {
		return fmt.Errorf("wait for entry %d: %w", index, err)
	}
	return nil
}

// Changed is closed when the state changes next.
func (n *Node) Changed() <-chan struct{} { return n.fsm.changed.next() }

// ID names this server; empty until it is known.
func (n *Node) ID() string {
	if p := n.papers.Load(); p != nil {
		return p.id
	}
	return ""
}

// Authority is the cluster's; nil until Ready.
func (n *Node) Authority() *pki.Authority {
	if p := n.papers.Load(); p != nil {
		return p.authority
	}
	return nil
}

// ClusterID is the cluster's, of the applied state.
func (n *Node) ClusterID() machine.ClusterID { return n.View().Cluster() }

// ClusterAddr is where others reach this server's cluster port; empty until it is open.
func (n *Node) ClusterAddr() string {
	if n.cfg.Advertise != "" {
		return n.cfg.Advertise
	}
	if p := n.port.Load(); p != nil {
		return p.Addr()
	}
	return ""
}

// Servers are the members that the state knows.
func (n *Node) Servers() []*Server { return n.View().Servers() }

// Leader is the server that leads now, as far as this one knows, and whether it is this one.
func (n *Node) Leader() (leader Server, isSelf bool) {
	r := n.raft.Load()
	if r == nil {
		return Server{}, false
	}
	addr, id := r.LeaderWithID()
	if id == "" {
		return Server{}, false
	}
	if s, ok := n.View().Server(string(id)); ok {
		return *s, string(id) == n.ID()
	}
	return Server{ID: string(id), Cluster: string(addr)}, string(id) == n.ID()
}

// Voters are the servers that vote now, by id.
func (n *Node) Voters() map[string]bool {
	r := n.raft.Load()
	if r == nil {
		return nil
	}
	list, err := voters(r)
	if err != nil {
		return nil // raft is stopping
	}
	set := map[string]bool{}
	for _, v := range list {
		set[string(v.ID)] = true
	}
	return set
}

// Seated says whether this server votes, as far as it knows, or has stepped back for want of disk: one that has just
// joined does neither until it has caught up, and the cluster cannot count on it yet.
func (n *Node) Seated() bool {
	low, _ := n.lowDisk.Load().(string)
	return low != "" || n.Voters()[n.ID()]
}

// Now is cluster time: the leader's clock in office, elsewhere the stamp of the last entry.
func (n *Node) Now() funding.Millis {
	if at, ok := n.clock.read(); ok {
		return at
	}
	return n.View().At()
}

// LeaderCh tells true when this server leads and has applied all that came before, false when it
// does no longer. Only the newest change is kept; it is for one reader.
func (n *Node) LeaderCh() <-chan bool { return n.leadCh }

// Leads says whether this server leads and has applied all that came before.
func (n *Node) Leads() bool { return n.leads.Load() }

// Term is raft's.
func (n *Node) Term() uint64 {
	if r := n.raft.Load(); r != nil {
		return r.CurrentTerm()
	}
	return 0
}

// Alarm is what an operator should look at; empty when all is well.
func (n *Node) Alarm() string {
	for _, v := range []*atomic.Value{&n.refuses, &n.lowDisk, &n.alarm} {
		switch x := v.Load().(type) {
		case refusal:
			if x.err != nil {
				return x.err.Error()
			}
		case string:
			if x != "" {
				return x
			}
		}
	}
	if n.cfg.Alarm != nil {
		return n.cfg.Alarm()
	}
	return ""
}

// Mux takes handlers for other servers only, reached through PeerClient. Fill it before Run.
func (n *Node) Mux() *http.ServeMux { return n.mux }

// admit is the pins' answer to a certificate of the authority's.
func (n *Node) admit(kind pki.Kind, cert *x509.Certificate) error {
	name, pin, v := pki.NameOf(cert), pki.PinOf(cert.Raw), n.View()
	if kind == pki.Executor {
		node, ok := v.NodeByName(name)
		if !ok || node.Cert != pin {
			return fmt.Errorf("executor %q is not a member", name)
		}
		return nil
	}
	if s, ok := v.Server(name); ok {
		if s.Cert != pin {
			return fmt.Errorf("server %q is a member with another certificate", name)
		}
		return nil
	}
	return n.vouched(name, pin)
}
