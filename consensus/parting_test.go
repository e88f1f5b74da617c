package consensus

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestWhoIsRightWhenStatesDiffer(t *testing.T) {
	a, b, c := [32]byte{1}, [32]byte{2}, [32]byte{3}
	said := func(sum [32]byte) vote { return vote{votes: true, said: true, sum: sum} }
	silent, reader := vote{votes: true}, vote{said: true, sum: b}
	for name, want := range map[string]struct {
		votes    map[string]vote
		stop     string
		readOnly bool
	}{
		"all alike":                       {votes: map[string]vote{"x": said(a), "y": said(a), "z": said(a)}},
		"one of three differs":            {votes: map[string]vote{"x": said(a), "y": said(b), "z": said(a)}, stop: "y"},
		"the leader differs":              {votes: map[string]vote{"x": said(b), "y": said(a), "z": said(a)}, stop: "x"},
		"three opinions":                  {votes: map[string]vote{"x": said(a), "y": said(b), "z": said(c)}, readOnly: true},
		"two opinions of two":             {votes: map[string]vote{"x": said(a), "y": said(b)}, readOnly: true},
		"one silent will decide":          {votes: map[string]vote{"x": said(a), "y": said(b), "z": silent}},
		"one alone":                       {votes: map[string]vote{"x": said(a)}},
		"who does not vote differs":       {votes: map[string]vote{"x": said(a), "y": said(a), "z": reader}, stop: "z"},
		"two and two of five, one silent": {votes: map[string]vote{"v": said(a), "w": said(a), "x": said(b), "y": said(b), "z": silent}},
		"two, one and one of five":        {votes: map[string]vote{"v": said(a), "w": said(a), "x": said(b), "y": said(c), "z": silent}},
		"two, two and one of five":        {votes: map[string]vote{"v": said(a), "w": said(a), "x": said(b), "y": said(b), "z": said(c)}, readOnly: true},
	} {
		d := judge(want.votes)
		if d.readOnly != want.readOnly {
			t.Errorf("%s: read-only %v", name, d.readOnly)
		}
		if (want.stop == "") != (len(d.stop) == 0) || want.stop != "" && !d.stop[want.stop] {
			t.Errorf("%s: stop %v", name, d.stop)
		}
	}
}

func quickSums(_ int, c *Config) { c.Tuning.Checksums = 20 * time.Millisecond }

// spoil makes a server carry out an entry that the others never see: the planted fault.
func spoil(m *member, i int) {
	v := m.View()
	entry := mustEncode(entry(i), v.At())
	m.fsm.machine.Load().Apply(v.Index()+1, entry)
}

func TestAServerWhoseStatePartedStopsItselfForGood(t *testing.T) {
	c := newCluster(t, true, quickSums)
	c.three()
	odd := c.follower()
	spoil(odd, 1000)
	// The next command's index is far enough above the planted one.
	if err := c.leader().raft.Load().Barrier(0).Error(); err != nil {
		t.Fatal(err)
	}
	mustPropose(t, c.leader().Node, 1)
	mustPropose(t, c.leader().Node, 2)
	<-odd.done
	odd.cancel()
	odd.cancel = nil
	if !errors.Is(odd.err, ErrParted) {
		t.Fatalf("it ended with: %v", odd.err)
	}
	c.start(odd)
	<-odd.done
	odd.cancel()
	odd.cancel = nil
	if odd.err == nil || !strings.Contains(odd.err.Error(), "must not take part again") {
		t.Fatalf("it started again: %v", odd.err)
	}
	mustPropose(t, c.leader().Node, 3)
}

func TestWithoutAMajorityAllTurnReadOnly(t *testing.T) {
	c := newCluster(t, true, quickSums)
	c.found()
	c.join()
	spoil(c.follower(), 1000)
	if err := c.leader().raft.Load().Barrier(0).Error(); err != nil {
		t.Fatal(err)
	}
	until(t, "read-only", func() error {
		_, err := c.leader().Propose(t.Context(), entry(1))
		if errors.Is(err, ErrReadOnly) {
			return nil
		}
		return errNotYet
	})
	if a := c.leader().Alarm(); !strings.Contains(a, "differ") {
		t.Errorf("alarm: %q", a)
	}
	if c.leader().View().Format() == 0 {
		t.Error("reads must go on")
	}
}

func TestAFullDiskMakesTheLeaderStepBackAndLoseItsVote(t *testing.T) {
	free := make([]chan uint64, 3)
	for i := range free {
		free[i] = make(chan uint64, 1)
		free[i] <- 1 << 40
	}
	c := newCluster(t, true, func(i int, c *Config) {
		c.Tuning.Disk = 5 * time.Millisecond
		c.Free = func(string) (uint64, error) {
			n := <-free[i]
			free[i] <- n
			return n, nil
		}
	})
	c.three()
	set := func(m *member, n uint64) {
		for i := range c.all {
			if c.all[i] == m {
				<-free[i]
				free[i] <- n
			}
		}
	}
	old := c.leader()
	set(old, 1000)
	until(t, "another leader, and the vote is gone", func() error {
		lead := c.leader()
		if lead == old || lead.Voters()[old.ID()] {
			return errNotYet
		}
		return nil
	})
	mustPropose(t, old.Node, 1)
	if a := old.Alarm(); !strings.Contains(a, "below the reserve") {
		t.Errorf("it does not tell why: %q", a)
	}
	set(old, 1<<40)
	c.voters(3)
}

func TestAFullDiskOfTheOnlyServerRefusesEntriesAndSaysWhy(t *testing.T) {
	free := make(chan uint64, 1)
	free <- 1 << 40
	c := newCluster(t, true, func(_ int, c *Config) {
		c.Tuning.Disk = 5 * time.Millisecond
		c.Free = func(string) (uint64, error) {
			n := <-free
			free <- n
			return n, nil
		}
	})
	m := c.found()
	<-free
	free <- 1000
	until(t, "a refusal", func() error {
		_, err := m.Propose(t.Context(), entry(1))
		if errors.Is(err, ErrReadOnly) && strings.Contains(err.Error(), "nearly full") {
			return nil
		}
		return errNotYet
	})
	<-free
	free <- 1 << 40
	until(t, "entries again", func() error {
		_, err := m.Propose(t.Context(), entry(2))
		return err
	})
}

func TestAnEntryThatHitsABugIsKeptAside(t *testing.T) {
	c := newCluster(t, true, nil)
	m := c.found()
	m.fsm.keepAside(&raft.Log{Index: 12, Data: []byte("bytes")}, mustPropose(t, m.Node, 1))
	b, err := os.ReadFile(filepath.Join(m.cfg.Dir, "panics", "00000000000000000012.entry"))
	if err != nil || string(b) != "bytes" {
		t.Fatal(err)
	}
}
