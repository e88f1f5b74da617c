// Package inproc runs whole servers and executors in one process, on a network in memory and a clock of their own.
package inproc

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/port"
	"github.com/coinop/coinop/server"
)

// Cluster is servers s0, s1, … and executors e0, e1, …, hosts of a mesh whose links can be cut. Time is that of a bubble
// of testing/synctest: it passes only when nothing is left to do, so waiting costs nothing, and a slow machine breaks no
// deadline.
type Cluster struct {
	T         *testing.T
	Mesh      *port.Mesh
	Servers   []*Server
	Executors []*Executor
	User      *User

	dir     string
	began   time.Time
	beat    time.Duration // how often drivers' clocks move
	steps   *steps
	tuned   consensus.Tuning
	puppets []*Puppet
	disks   bool // tasks of machines that join can be suspended
}

// patience is how long a story waits for what must come, in the cluster's time.
const patience = 10 * time.Minute

// Play starts a cluster, tells the story and stops everything. What a server did wrong in the background fails the test.
func Play(t *testing.T, servers, executors int, story func(c *Cluster)) {
	t.Helper()
	PlayTuned(t, servers, executors, tuning(), story)
}

// PlayTuned is Play with servers that go faster or slower.
func PlayTuned(t *testing.T, servers, executors int, tuned consensus.Tuning, story func(c *Cluster)) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // tasks' folders lie below, which their users enter
		t.Fatal(err)
	}
	emptyPools()
	defer emptyPools()
	synctest.Test(t, func(t *testing.T) {
		c := &Cluster{T: t, Mesh: port.NewMesh(), dir: dir, began: time.Now(), beat: 10 * time.Millisecond, steps: &steps{}, tuned: tuned}
		defer c.stop()
		for range servers {
			c.addServer()
		}
		for range executors {
			c.AddExecutor()
		}
		c.User = c.newUser()
		story(c)
	})
}

// emptyPools throws away what sync.Pools hold: yamux keeps timers there, and a bubble's timer is of no use outside of it.
// What a pool holds outlives one collection, not two.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}

// stop ends executors first: what they have to say is heard.
func (c *Cluster) stop() {
	for _, e := range c.Executors {
		e.Stop()
	}
	for _, p := range c.puppets {
		p.Disconnect()
	}
	c.HealAll()
	if c.User != nil {
		c.User.close()
	}
	for _, s := range c.Servers {
		s.Stop()
	}
}

// Wait lets time pass.
func (c *Cluster) Wait(d time.Duration) {
	time.Sleep(d) // of the bubble, which takes no time
	synctest.Wait()
}

// Until waits for something to become true.
func (c *Cluster) Until(what string, is func() bool) {
	c.T.Helper()
	for late := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			c.T.Fatalf("waited in vain until %s", what)
		}
	}
}

// hosts are the names of all machines.
func (c *Cluster) hosts() []string {
	list := []string{userHost}
	for _, s := range c.Servers {
		list = append(list, s.Name)
	}
	for _, e := range c.Executors {
		list = append(list, e.Name)
	}
	for _, p := range c.puppets {
		list = append(list, p.Name)
	}
	return list
}

// Isolate cuts a machine off from the named ones, or from all.
func (c *Cluster) Isolate(name string, from ...string) {
	if len(from) == 0 {
		from = c.hosts()
	}
	for _, other := range from {
		if other != name {
			c.Mesh.Cut(name, other)
		}
	}
}

// HealAll joins everything again.
func (c *Cluster) HealAll() {
	hosts := c.hosts()
	for i, a := range hosts {
		for _, b := range hosts[i:] {
			c.Mesh.Heal(a, b)
		}
	}
}

// Leader waits for a server that leads and that the user reaches.
func (c *Cluster) Leader() *Server {
	c.T.Helper()
	var lead *Server
	c.Until("a server leads", func() bool {
		for _, s := range c.Servers {
			if s.cancel != nil && s.Leads() && s.View().Format() > 0 {
				lead = s
			}
		}
		return lead != nil
	})
	return lead
}

// Follower is a server that runs and does not lead.
func (c *Cluster) Follower() *Server {
	c.T.Helper()
	lead := c.Leader()
	for _, s := range c.Servers {
		if s != lead && s.cancel != nil {
			return s
		}
	}
	c.T.Fatal("there is no follower")
	return nil
}

// Server is one server, whether it runs or not.
type Server struct {
	*server.Server
	Name   string
	Config server.Config // of the next start

	cluster *Cluster
	cancel  context.CancelFunc
	done    chan error
	member  atomic.Bool // it has joined and votes
	lives   int         // how often it was killed
	kept    string      // its folder as it was then
}

// tuning keeps quiet clusters quiet: an hour of them is played in seconds.
func tuning() consensus.Tuning {
	return consensus.Tuning{Commit: 20 * time.Millisecond, Disk: 5 * time.Second, Checksums: 5 * time.Second}
}

func (c *Cluster) addServer() {
	c.T.Helper()
	s := c.planServer()
	s.Start()
	select {
	case <-s.Ready():
		s.member.Store(true)
	case err := <-s.done:
		c.T.Fatalf("%s did not start: %v", s.Name, err)
	}
}

// planServer is a server that is yet to be started: the first one of the cluster, or one that joins it.
func (c *Cluster) planServer() *Server {
	c.T.Helper()
	name := fmt.Sprintf("s%d", len(c.Servers))
	s := &Server{Name: name, cluster: c, Config: server.Config{
		Dir: filepath.Join(c.dir, name), HTTP: name + ":2770", Cluster: name + ":2771", Version: "test",
		Tuning: c.tuned, PlainHTTP: true, Hosts: []string{"s0", "s1", "s2", "s3", "s4"}, Log: c.log(name),
	}}
	s.Config.Network, s.Config.Stores = watchedHost{c.Mesh.Host(name), s}, s.watched
	if len(c.Servers) == 0 {
		s.Config.Bootstrap = &server.Founding{}
	} else {
		s.Config.Join, s.Config.Token = []string{"s0:2771"}, c.joinToken("server")
	}
	c.Servers = append(c.Servers, s)
	return s
}

func (c *Cluster) log(name string) *slog.Logger {
	level := slog.LevelError + 1
	if testing.Verbose() {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(c.T.Output(), &slog.HandlerOptions{Level: level})).With("host", name)
}

// Start starts it with what its folder holds.
func (s *Server) Start() {
	s.cluster.T.Helper()
	var err error
	if s.Server, err = server.New(s.Config); err != nil {
		s.cluster.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan error, 1)
	go func() { s.done <- s.Run(ctx) }()
}

// Stop ends it as SIGTERM does.
func (s *Server) Stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	if err := <-s.done; err != nil {
		s.cluster.T.Errorf("%s ended with: %v", s.Name, err)
	}
	s.cancel = nil
}

// Kill ends it as SIGKILL does. Restart brings it back.
func (s *Server) Kill() {
	s.crash()
	s.bury()
}

// Restart starts it again, with its links healed.
func (s *Server) Restart() {
	for _, other := range s.cluster.hosts() {
		s.cluster.Mesh.Heal(s.Name, other)
	}
	s.Start()
}
