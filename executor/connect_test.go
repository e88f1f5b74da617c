package executor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/executor/wire"
)

func TestAnyServerLeadsToTheLeader(t *testing.T) {
	onMachineWith(t, func(m *machine) {
		m.config.Servers = []string{"a:1", "b:1", "c:1"}
		m.cluster.leader = "d:1" // known to the others only
		m.cluster.dead["a:1"] = true
	}, func(m *machine) {
		m.cluster.order(running(1, "exit", "0"))
		m.cluster.awaitEnd(1)
		began := time.Now()
		m.cluster.change(func() { m.cluster.leader, m.cluster.dead["d:1"] = "b:1", true })
		m.cluster.cut()
		m.cluster.order(running(2, "exit", "0"))
		m.cluster.awaitEnd(2)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the new leader was found after %s", took)
		}
	})
}

func TestAllServersAreAskedBeforeTheWaitGrows(t *testing.T) {
	servers := []string{"a:1", "b:1", "c:1", "d:1", "e:1"}
	alone := func(c *cluster, leader string) {
		c.leader = leader
		for _, s := range servers {
			c.dead[s] = s != leader
		}
	}
	onMachineWith(t, func(m *machine) {
		m.config.Servers = servers
		alone(m.cluster, "a:1")
	}, func(m *machine) {
		m.cluster.order(running(1, "exit", "0"))
		m.cluster.awaitEnd(1)
		m.cluster.change(func() { alone(m.cluster, "e:1") }) // which is asked last
		began := time.Now()
		m.cluster.cut()
		m.cluster.order(running(2, "exit", "0"))
		m.cluster.awaitEnd(2)
		if took := time.Since(began); took > 800*time.Millisecond { // five rests of 50 to 150 ms
			t.Errorf("the only server that is left was found after %s", took)
		}
	})
}

func TestServersThatNameEachOtherAreNotAskedInALoop(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.cluster.leader = "nobody:1"; m.cluster.dead["nobody:1"] = true }, func(m *machine) {
		m.wait(time.Minute)
		if n := locked(m.cluster, func() int { return len(m.cluster.dialled) }); n > 60 || n < 12 {
			t.Errorf("%d connections were tried in a minute without a leader, want a few", n)
		}
	})
}

func TestServerThatSaysNothingIsGivenUp(t *testing.T) {
	onMachineWith(t, func(m *machine) {
		m.config.Servers = []string{"a:1", "b:1"}
		m.cluster.mute = true
	}, func(m *machine) {
		m.cluster.order(running(1, "exit", "0"))
		m.wait(2 * time.Minute)
		if n := locked(m.cluster, func() int { return len(m.cluster.dialled) }); n < 4 {
			t.Errorf("%d connections were tried in two minutes of silence", n)
		}
		m.cluster.change(func() { m.cluster.mute = false })
		m.cluster.awaitEnd(1)
	})
}

func TestOlderOrdersAreIgnored(t *testing.T) {
	for name, older := range map[string]func(c *cluster){
		"of an older term":     func(c *cluster) { c.term, c.applied = 4, 200 },
		"of an older index":    func(c *cluster) { c.applied = 50 },
		"of another cluster":   func(c *cluster) { c.id, c.term, c.applied = "other", 9, 900 },
		"that name no cluster": func(c *cluster) { c.id = "" },
	} {
		t.Run(name, func(t *testing.T) {
			onMachineWith(t, func(m *machine) { m.cluster.term, m.cluster.applied = 5, 100 }, func(m *machine) {
				m.cluster.order(running(1, "block"))
				m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
				m.cluster.change(func() { older(m.cluster); delete(m.cluster.orders, 1) })
				for _, again := range []func(){m.cluster.cut, m.restart} {
					again()
					m.cluster.order(running(2, "block"))
					m.wait(30 * time.Second)
					if m.starts(2) != 0 || m.driver.Lose("ctestcluster-1-unknown") == nil {
						t.Error("older orders were obeyed")
					}
					if _, err := m.driver.Usage(m.t.Context(), "ctestcluster-1"); err != nil {
						t.Errorf("run 1 was dropped: %v", err)
					}
				}
			})
		})
	}
}

func TestDamagedSeenFileIsToldAndReplaced(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.stop()
		path := filepath.Join(m.config.Dir, "seen")
		b, err := os.ReadFile(path)
		if err != nil || len(b) != seenBytes || !strings.Contains(string(b), `"term":1`) {
			t.Fatalf("seen holds %q, %v", b, err)
		}
		b[40]++
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m.start()
		m.cluster.order(running(2, "exit", "0"))
		m.cluster.awaitEnd(2)
	})
}

func TestSeenSurvivesItsOwnEncoding(t *testing.T) {
	want := seen{Cluster: "a-b", Term: 7, Applied: 1 << 60}
	line, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	var got seen
	if err := got.decode(line); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
	for i := range line[:60] {
		damaged := slices.Clone(line)
		damaged[i] ^= 4
		if err := new(seen).decode(damaged); err == nil {
			t.Errorf("damage at byte %d is not noticed", i)
		}
	}
	if _, err := (seen{Cluster: strings.Repeat("x", 300)}).encode(); err == nil {
		t.Error("a cluster id that does not fit is taken")
	}
}
