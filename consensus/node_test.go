package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// networks runs a story over each kind of network.
func networks(t *testing.T, tune func(i int, c *Config), story func(t *testing.T, c *cluster)) {
	t.Helper()
	t.Run("mesh", func(t *testing.T) { story(t, newCluster(t, true, tune)) })
	t.Run("loopback", func(t *testing.T) { story(t, newCluster(t, false, tune)) })
}

func TestOneServerKeepsItsStateOverARestart(t *testing.T) {
	c := newCluster(t, false, nil)
	m := c.found()
	for i := range 10 {
		mustPropose(t, m.Node, i)
	}
	before, id := m.View(), m.ID()
	c.stop(m)
	if m.err != nil {
		t.Fatalf("stopped with: %v", m.err)
	}
	c.start(m)
	c.leader()
	if m.View().Sum() != before.Sum() || m.ID() != id {
		t.Fatal("the state or the server's id is another after the restart")
	}
	mustPropose(t, m.Node, 11)
}

func TestThreeServersAgreeAndAnyOfThemTakesProposals(t *testing.T) {
	networks(t, nil, func(t *testing.T, c *cluster) {
		c.three()
		for i, m := range c.all {
			r := mustPropose(t, m.Node, i)
			if !has(m.View(), i) || m.View().Index() < r.Index {
				t.Errorf("server %d does not see its own write", i)
			}
		}
		for _, m := range c.all {
			index, err := m.Linearize(t.Context())
			if err != nil || !has(m.View(), 2) {
				t.Errorf("a linearizable read at %d is old: %v", index, err)
			}
		}
		c.same()
		for _, m := range c.all[1:] {
			if string(m.secret) != "the mint's secret" {
				t.Error("the mint's secret did not come along")
			}
		}
	})
}

func TestARefusalIsAResultFromAnyServer(t *testing.T) {
	c := newCluster(t, true, nil)
	c.three()
	bad := entry(1)
	bad.Role = 77
	for _, m := range c.all {
		r, err := m.Propose(t.Context(), bad)
		if err != nil || r.Code != "invalid" || r.Detail == "" {
			t.Errorf("%v, %v", r, err)
		}
	}
}

// load proposes entries through every server until stop is closed, repeating those whose outcome
// is unknown, as clients do. It returns the acknowledged ones.
func load(t *testing.T, c *cluster, workers int, stop <-chan struct{}) (acknowledged func() map[int]uint64, latest *atomic.Int64) {
	var mu sync.Mutex
	acks := map[int]uint64{}
	latest = new(atomic.Int64)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; ; i += workers {
				for try := 0; ; try++ {
					select {
					case <-stop:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					r, err := c.all[(w+try)%len(c.all)].Propose(ctx, entry(i))
					cancel()
					if err == nil {
						if r.Code != "ok" {
							t.Errorf("entry %d: %v", i, r.Err())
						}
						mu.Lock()
						acks[i] = r.Index
						mu.Unlock()
						latest.Store(time.Now().UnixNano())
						break
					}
				}
			}
		})
	}
	return func() map[int]uint64 {
		wait.Wait()
		return acks
	}, latest
}

func TestTheLeaderStopsUnderLoadAndNothingIsLostOrDoubled(t *testing.T) {
	networks(t, nil, func(t *testing.T, c *cluster) {
		c.three()
		c.stopsUnderLoad(func(lead *member) { c.stop(lead) })
	})
}

func TestTheLeaderIsCutOffUnderLoadAndTheOthersGoOnWithinTwoSeconds(t *testing.T) {
	c := newCluster(t, true, nil)
	c.three()
	c.stopsUnderLoad(func(lead *member) {
		for _, o := range c.all {
			if o != lead {
				c.mesh.Cut(lead.host, o.host)
			}
		}
	})
	for _, a := range c.all {
		for _, b := range c.all {
			c.mesh.Heal(a.host, b.host)
		}
	}
	until(t, "one leader", func() error {
		n := 0
		for _, m := range c.all {
			if m.Leads() {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%d leaders", n)
		}
		return nil
	})
	c.same()
}

func (c *cluster) stopsUnderLoad(hit func(lead *member)) {
	t, ok := c.t.(*testing.T)
	if !ok {
		c.t.Fatal("a test is wanted")
	}
	stop := make(chan struct{})
	acked, latest := load(t, c, 8, stop)
	until(t, "load", func() error {
		if latest.Load() == 0 {
			return errNotYet
		}
		return nil
	})
	lead := c.leader()
	hit(lead)
	struck := time.Now()
	until(t, "entries are taken again", func() error {
		for _, m := range c.running() {
			if m != lead && m.Leads() && latest.Load() > struck.UnixNano() {
				return nil
			}
		}
		return errNotYet
	})
	if took := time.Since(struck); took > 2*time.Second {
		t.Errorf("it took %v until entries were taken again", took)
	} else {
		t.Logf("entries were taken again after %v", took)
	}
	close(stop)
	acks := acked()
	var rest *member
	for _, m := range c.running() {
		if m != lead {
			rest = m
			break
		}
	}
	if _, err := rest.Linearize(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := rest.View()
	for i := range acks {
		if !has(v, i) {
			t.Errorf("entry %d was acknowledged and is lost", i)
		}
	}
	t.Logf("%d acknowledged", len(acks))
}

func TestWithoutAMajorityNothingIsAcknowledged(t *testing.T) {
	c := newCluster(t, true, func(_ int, cfg *Config) { cfg.Tuning.LeaderWait = time.Second })
	c.three()
	lead := c.leader()
	for _, m := range c.all {
		if m != lead {
			c.stop(m)
		}
	}
	r, err := lead.Propose(t.Context(), entry(1))
	if err == nil {
		t.Fatalf("acknowledged: %v", r)
	}
	if !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrNoLeader) {
		t.Fatal(err)
	}
	if _, err := lead.Linearize(t.Context()); err == nil {
		t.Fatal("a linearizable read without a majority")
	}
}

func TestALateServerCatchesUpFromASnapshot(t *testing.T) {
	networks(t, func(_ int, c *Config) { c.Tuning.TrailingLogs = 1 }, func(t *testing.T, c *cluster) {
		m := c.found()
		for i := range 50 {
			mustPropose(t, m.Node, i)
		}
		if err := m.Compact(); err != nil {
			t.Fatal(err)
		}
		mustPropose(t, m.Node, 50)
		late := c.join()
		if _, err := late.Linearize(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 51 {
			if !has(late.View(), i) {
				t.Fatalf("entry %d is missing", i)
			}
		}
		c.same()
	})
}

func TestAServerThatWasAwayTooLongGetsASnapshot(t *testing.T) {
	networks(t, func(_ int, c *Config) { c.Tuning.TrailingLogs = 1 }, func(t *testing.T, c *cluster) {
		c.three()
		away := c.follower()
		c.stop(away)
		for i := range 20 {
			mustPropose(t, c.leader().Node, i)
		}
		for _, m := range c.running() {
			if err := m.Compact(); err != nil {
				t.Fatal(err)
			}
		}
		mustPropose(t, c.leader().Node, 20)
		c.start(away)
		until(t, "it is there again", func() error {
			if !has(away.View(), 20) {
				return errNotYet
			}
			return nil
		})
		c.same()
	})
}
