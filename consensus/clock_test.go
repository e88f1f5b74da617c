package consensus

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/funding"
)

func TestInOfficeTimeIsTheLastStampPlusMonotonicTime(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	c := &clock{mono: func() time.Time { return now }}
	if _, ok := c.stamp(); ok {
		t.Fatal("a stamp out of office")
	}
	c.take(500)
	now = now.Add(70 * time.Millisecond)
	if at, ok := c.stamp(); !ok || at != 570 {
		t.Fatalf("%d, %v", at, ok)
	}
	now = now.Add(-time.Hour) // whatever the clock underneath does
	if at, _ := c.stamp(); at != 570 {
		t.Fatalf("time went to %d", at)
	}
	if c.advance(569) {
		t.Fatal("time was put back")
	}
	if !c.advance(10_000) {
		t.Fatal("the wall clock lies ahead and was refused")
	}
	if at, _ := c.stamp(); at != 10_000 {
		t.Fatalf("%d", at)
	}
	c.lose()
	if _, ok := c.stamp(); ok || c.advance(99_999) {
		t.Fatal("a stamp after the term")
	}
}

func TestHowManyClocksAgree(t *testing.T) {
	ours := time.Unix(100, 0)
	theirs := []time.Time{ours.Add(2 * time.Second), ours.Add(-2 * time.Second), ours.Add(2001 * time.Millisecond), ours.Add(-time.Hour)}
	if n := agree(ours, theirs, 2*time.Second); n != 2 {
		t.Fatal(n)
	}
}

// skewed gives server i a wall clock that is off by off[i].
func skewed(off ...time.Duration) func(int, *Config) {
	return func(i int, c *Config) {
		c.Wall = func() time.Time { return time.Now().Add(off[i]) }
	}
}

// lead makes the server of this number the leader, and waits until its clock is settled.
func (c *cluster) lead(i int) *member {
	c.t.Helper()
	m := c.all[i]
	until(c.t, "the lead is handed over", func() error {
		if m.Leads() {
			return nil
		}
		r := c.leader().raft.Load()
		_ = r.LeadershipTransferToServer(raftID(m), raft.ServerAddress(m.ClusterAddr())).Error() // tried again
		return errNotYet
	})
	return m
}

func TestALeaderWhoseClockIsAheadDoesNotMoveTime(t *testing.T) {
	c := newCluster(t, true, skewed(0, 0, 24*time.Hour))
	c.three()
	m := c.lead(2)
	until(t, "an alarm", func() error {
		if m.Alarm() == "" {
			return errNotYet
		}
		return nil
	})
	if r := mustPropose(t, m.Node, 1); r.At > nowMillis(time.Hour) {
		t.Fatalf("cluster time is %v ahead", time.Duration(r.At-nowMillis(0))*time.Millisecond)
	}
}

func TestALeaderWhoseClockIsBehindGoesOnFromTheLastStamp(t *testing.T) {
	c := newCluster(t, true, skewed(0, 0, -24*time.Hour))
	c.three()
	before := mustPropose(t, c.leader().Node, 1).At
	m := c.lead(2)
	until(t, "an alarm", func() error {
		if m.Alarm() == "" {
			return errNotYet
		}
		return nil
	})
	if r := mustPropose(t, m.Node, 2); r.At < before || r.At > nowMillis(time.Hour) {
		t.Fatalf("from %d to %d", before, r.At)
	}
}

func TestAfterAPauseTimeCatchesUpWithTheWallClock(t *testing.T) {
	var off time.Duration
	c := newCluster(t, true, func(_ int, cfg *Config) { cfg.Wall = func() time.Time { return time.Now().Add(off) } })
	c.three()
	for _, m := range c.all {
		c.stop(m)
	}
	off = 3 * time.Hour // the whole cluster was off so long
	for _, m := range c.all {
		c.start(m)
	}
	m := c.leader()
	until(t, "cluster time", func() error {
		if m.Now() < nowMillis(2*time.Hour) {
			return errNotYet
		}
		return nil
	})
	if a := m.Alarm(); a != "" {
		t.Error(a)
	}
}

func nowMillis(plus time.Duration) funding.Millis {
	return funding.Millis(time.Now().Add(plus).UnixMilli())
}
