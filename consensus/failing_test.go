package consensus

import (
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// failing is a log whose disk fails, or is slow, when it is told to.
type failing struct {
	Log
	entries atomic.Bool  // cannot be written
	terms   atomic.Bool  // nor these
	slow    atomic.Int64 // nanoseconds that a write takes
}

func (f *failing) fail(is *atomic.Bool) error {
	if d := time.Duration(f.slow.Load()); d > 0 {
		<-time.After(d)
	}
	if is.Load() {
		return syscall.EIO
	}
	return nil
}

func (f *failing) StoreLogs(list []*raft.Log) error {
	if err := f.fail(&f.entries); err != nil {
		return err
	}
	return f.Log.StoreLogs(list)
}

func (f *failing) SetUint64(key []byte, value uint64) error {
	if err := f.fail(&f.terms); err != nil {
		return err
	}
	return f.Log.SetUint64(key, value)
}

// disks are the servers' logs, by their number.
type disks struct {
	mu  sync.Mutex
	all map[int]*failing
}

func (d *disks) of(c *cluster, m *member) *failing {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, o := range c.all {
		if o == m {
			return d.all[i]
		}
	}
	return nil
}

func threeOnDisks(t *testing.T) (*cluster, *disks) {
	t.Helper()
	d := &disks{all: map[int]*failing{}}
	c := newCluster(t, true, func(i int, cfg *Config) {
		cfg.Stores = func(s Stores) Stores {
			f := &failing{Log: s.Log}
			d.mu.Lock()
			d.all[i] = f
			d.mu.Unlock()
			s.Log = f
			return s
		}
	})
	c.three()
	return c, d
}

// ended waits until a server has ended, for what its disk did.
func (c *cluster) ended(m *member) {
	c.t.Helper()
	select {
	case <-m.done:
	case <-time.After(patience):
		c.t.Fatal("a server goes on with a disk that failed")
	}
	m.cancel = nil
	c.names(m.err, m.cfg.Dir, "input/output error", "look at this disk")
}

func TestTheLeadersDiskFailsUnderLoadAndNothingIsLost(t *testing.T) {
	t.Parallel()
	c, d := threeOnDisks(t)
	var lead *member
	c.stopsUnderLoad(func(m *member) {
		lead = m
		d.of(c, m).entries.Store(true)
		c.ended(m)
	})
	c.start(lead)
	<-lead.Ready()
	mustPropose(t, lead.Node, 1_000_000)
	c.same()
}

func TestAFollowersDiskFailsAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	c, d := threeOnDisks(t)
	m := c.follower()
	d.of(c, m).entries.Store(true)
	mustPropose(t, c.leader().Node, 1)
	c.ended(m)
	mustPropose(t, c.leader().Node, 2)
	c.start(m)
	<-m.Ready()
	mustPropose(t, m.Node, 3)
	c.same()
}

// Raft panics where it cannot save its term: while it runs and while it starts.
func TestATermThatCannotBeSavedEndsTheServerInOrder(t *testing.T) {
	t.Parallel()
	c, d := threeOnDisks(t)
	m, lead := c.follower(), c.leader()
	d.of(c, m).terms.Store(true)
	c.stop(lead)
	c.ended(m)
	stores := m.cfg.Stores
	m.cfg.Stores = func(s Stores) Stores {
		s = stores(s)
		d.of(c, m).terms.Store(true)
		return s
	}
	c.refused(m, m.cfg.Dir, "input/output error", "look at this disk")
	m.cfg.Stores = stores
	c.start(m)
	<-m.Ready()
	mustPropose(t, m.Node, 1)
}

func TestASlowDiskOfAFollowerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	const slow, entries = 300 * time.Millisecond, 4
	c, d := threeOnDisks(t)
	lead := c.leader()
	took := func(m *member, base int) time.Duration {
		d.of(c, m).slow.Store(int64(slow))
		defer d.of(c, m).slow.Store(0)
		begun := time.Now()
		for i := range entries {
			mustPropose(t, lead.Node, base+i)
		}
		return time.Since(begun)
	}
	follower := took(c.follower(), 0)
	leader := took(lead, entries) // the oracle: a disk that is waited for
	t.Logf("%d entries in %v with a slow follower, in %v with a slow leader", entries, follower, leader)
	if follower > entries*slow/2 || leader < entries*slow {
		t.Error("a slow follower is waited for, or a slow leader is not")
	}
	if !lead.Leads() {
		t.Error("a slow leader has lost its office: its heartbeats waited for its disk")
	}
	c.same()
}
