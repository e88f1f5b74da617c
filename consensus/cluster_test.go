package consensus

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/port"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// patience is how long a test waits for what should come soon.
const patience = 20 * time.Second

// cluster is servers in one process: over a mesh in memory, or on loopback.
type cluster struct {
	t    testing.TB
	mesh *port.Mesh // nil: loopback
	tune func(i int, c *Config)
	dir  string
	all  []*member
}

// member is one server, whether it runs or not.
type member struct {
	*Node
	cfg    Config
	secret []byte // the mint's, as this server keeps it
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	host   string // in the mesh
}

func firstEntry(t testing.TB) *machine.Init {
	t.Helper()
	var epoch mint.Epoch
	epoch.Number = 1
	copy(epoch.Secret[:], "a secret for tests, and no other")
	keyset, err := mint.Define(epoch, 1, "credit", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	spec := machine.KeysetSpec{ID: keyset.ID, Epoch: 1, Number: 1}
	for _, key := range keyset.Keys {
		spec.Keys = append(spec.Keys, key.Point)
	}
	return &machine.Init{
		Cluster: machine.ClusterID{7}, Unit: "credit", Format: 1, Keyset: spec, Operator: machine.TokenHash{9},
		Pools: []scheduler.Pool{{
			Name: "default", Admission: scheduler.Open, Weights: scheduler.Weights{CPU: 1000, Memory: 250},
			Floor: 1_000_000, DefaultBid: 2_000_000, TimeDefault: 3_600_000, TimeMax: 7 * 86_400_000,
			KillDelay: 30_000, PauseGrace: 600_000, Tranche: 600_000, Tick: 10_000, ArrayMax: 100_000,
			Drivers: []string{"process"}, LowFunds: 120_000,
		}},
	}
}

func newCluster(t testing.TB, mesh bool, tune func(i int, c *Config)) *cluster {
	c := &cluster{t: t, tune: tune, dir: t.TempDir()} // made first, so that it is removed last
	if mesh {
		c.mesh = port.NewMesh()
	}
	t.Cleanup(c.stopAll)
	return c
}

// found starts the first server.
func (c *cluster) found() *member {
	c.t.Helper()
	m := c.member()
	m.cfg.Bootstrap = firstEntry(c.t)
	m.secret = []byte("the mint's secret")
	c.start(m)
	c.leader()
	return m
}

// join lets another server in by a token, and waits until it votes.
func (c *cluster) join() *member {
	c.t.Helper()
	lead := c.leader()
	token, err := lead.JoinToken(c.t.Context(), "server", 0)
	if err != nil {
		c.t.Fatal(err)
	}
	m := c.member()
	m.cfg.Join, m.cfg.Token = []string{lead.ClusterAddr()}, token
	c.start(m)
	c.voters(len(c.all))
	return m
}

// three starts a cluster of three.
func (c *cluster) three() {
	c.t.Helper()
	c.found()
	c.join()
	c.join()
}

func (c *cluster) member() *member {
	i := len(c.all)
	m := &member{host: fmt.Sprintf("s%d", i)}
	m.cfg = Config{
		Dir: filepath.Join(c.dir, fmt.Sprint(i)), ClusterAddr: "127.0.0.1:0", HTTPAddr: fmt.Sprintf("127.0.0.1:%d", 10_000+i), Version: "test",
		Secret:    func() ([]byte, error) { return m.secret, nil },
		SetSecret: func(b []byte) error { m.secret = b; return nil },
		Log:       slog.New(slog.DiscardHandler),
	}
	if c.mesh != nil {
		m.cfg.Network, m.cfg.ClusterAddr = c.mesh.Host(m.host), m.host+":1"
	}
	if testing.Verbose() {
		m.cfg.Log = slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("n", i)
	}
	if c.tune != nil {
		c.tune(i, &m.cfg)
	}
	c.all = append(c.all, m)
	return m
}

func (c *cluster) start(m *member) {
	c.t.Helper()
	if m.cfg.ClusterAddr == "127.0.0.1:0" {
		// A port of its own, so that the server has the same one after a restart.
		ln, err := net.Listen("tcp", m.cfg.ClusterAddr)
		if err != nil {
			c.t.Fatal(err)
		}
		m.cfg.ClusterAddr = ln.Addr().String()
		ln.Close()
	}
	n, err := New(m.cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.Node, m.cancel, m.done, m.err = n, cancel, make(chan struct{}), nil
	done := m.done
	go func() {
		defer close(done)
		m.err = n.Run(ctx)
	}()
}

// stop ends a server as SIGTERM does.
func (c *cluster) stop(m *member) {
	if m.cancel == nil {
		return
	}
	m.cancel()
	<-m.done
	m.cancel = nil
}

func (c *cluster) stopAll() {
	var wait sync.WaitGroup
	for _, m := range c.all {
		if m.cancel != nil {
			wait.Go(func() { m.cancel(); <-m.done })
		}
	}
	wait.Wait()
	for _, m := range c.all {
		if m.cancel != nil && m.err != nil {
			c.t.Errorf("a server ended with: %v", m.err)
		}
	}
}

// until asks again until the answer is nil.
func until(t testing.TB, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

var errNotYet = errors.New("not yet")

func (c *cluster) running() []*member {
	var list []*member
	for _, m := range c.all {
		if m.cancel != nil {
			list = append(list, m)
		}
	}
	return list
}

// leader waits for a server that leads a cluster which has its first entry.
func (c *cluster) leader() *member {
	c.t.Helper()
	var lead *member
	until(c.t, "a leader", func() error {
		for _, m := range c.running() {
			select {
			case <-m.done:
				c.t.Fatalf("a server ended with: %v", m.err)
			default:
			}
			if m.Leads() && m.View().Format() > 0 {
				lead = m
				return nil
			}
		}
		return errNotYet
	})
	return lead
}

func (c *cluster) follower() *member {
	c.t.Helper()
	lead := c.leader()
	for _, m := range c.running() {
		if m != lead {
			return m
		}
	}
	c.t.Fatal("no follower")
	return nil
}

func (c *cluster) voters(want int) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("%d voters", want), func() error {
		list, err := voters(c.leader().raft.Load())
		if err == nil && len(list) != want {
			err = fmt.Errorf("%d voters", len(list))
		}
		return err
	})
}

// entry is a command that can be told from others and sees whether it is carried out twice: a
// submit token of its own name.
func entry(i int) machine.Token {
	return machine.Token{Hash: sha256.Sum256(fmt.Appendf(nil, "entry %d", i)), Role: machine.RoleSubmit, Name: fmt.Sprintf("entry %d", i)}
}

func has(v *machine.View, i int) bool {
	_, ok := v.Token(entry(i).Hash)
	return ok
}

func mustPropose(t testing.TB, n *Node, i int) machine.Result {
	t.Helper()
	r, err := n.Propose(t.Context(), entry(i))
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		t.Fatalf("propose %d: %v", i, err)
	}
	return r
}

// same waits until all running servers have made the same of the log.
func (c *cluster) same() {
	c.t.Helper()
	index, err := c.leader().Linearize(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	var sum [32]byte
	for i, m := range c.running() {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
		err := m.Wait(ctx, index)
		cancel()
		if err != nil {
			c.t.Fatalf("server %d does not come to entry %d: %v; what it says: %q", i, index, err, m.Alarm())
		}
		v := m.View()
		if i > 0 && v.Index() == c.running()[0].View().Index() && v.Sum() != sum {
			c.t.Fatalf("server %d has another checksum after entry %d", i, v.Index())
		}
		sum = v.Sum()
	}
}

func raftID(m *member) raft.ServerID { return raft.ServerID(m.ID()) }
