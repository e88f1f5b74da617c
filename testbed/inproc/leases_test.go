package inproc

import (
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/scheduler"
)

// A leader that has lost the others grants nothing, though it does not know it yet.
func TestNoLeaseFromALeaderWithoutContact(t *testing.T) {
	funded(t, 3, 0, func(c *Cluster, pot client.Secret) {
		p := c.AddPuppet()
		lead := c.Leader()
		p.Connect(lead)
		said := p.Say()
		c.Until("a report is answered", func() bool { return p.Leased(said) })
		for _, s := range c.Servers {
			if s != lead {
				c.Isolate(lead.Name, s.Name)
			}
		}
		if !lead.Leads() {
			t.Fatal("it knows already")
		}
		seq := p.Say()
		c.Until("it knows", func() bool { return !lead.Leads() })
		c.Until("the stream is closed", p.Closed)
		if p.Leased(seq) {
			t.Error("a lease was granted by a leader that nobody follows")
		}
		p.Connect(lead)
		c.Until("an answer comes", func() bool { return len(p.Heard()) > 0 })
		if d := p.Heard()[0]; !d.NotLeader || d.LeaseMs != 0 || len(d.Orders) != 0 {
			t.Errorf("who does not lead answers: %v", d)
		}
		c.HealAll()
	})
}

// A machine that is cut off freezes its tasks when its lease lapses. Back in time, they go on, and the frozen time is
// nobody's.
func TestALapsedLeaseFreezesAndIsFree(t *testing.T) {
	funded(t, 1, 2, func(c *Cluster, pot client.Secret) {
		j := c.User.Submit(pot, Spec("run", "100s", "0"))
		c.User.Await(j, "running")
		run := c.runs(j)[0]
		node, _ := c.Leader().View().Node(run.Nodes[0])
		c.Isolate(node.Name)
		c.Wait(64 * time.Second) // the lease ends after 60 at the latest, the place is given away after 75; coming back takes seconds
		c.HealAll()
		done := c.User.Await(j, "done")
		if runs := c.history(j); len(runs) != 1 || runs[0].Run != uint64(run.ID) {
			t.Fatalf("it was not the same run: %+v", runs)
		}
		took := done.Ended.Sub(*done.Started)
		if r := c.User.Receipt(j); r.BilledMs < 99_900 || r.BilledMs > 100_200 || took < 103*time.Second {
			t.Errorf("100 s of work in %v were billed as %d ms", took, r.BilledMs)
		}
	})
}

// A machine that stays away is given up, its task starts anew elsewhere, and the lost time costs nothing. The machine's own task was
// frozen before, so the two never run at once.
func TestALostNodesTaskStartsElsewhereUncharged(t *testing.T) {
	funded(t, 1, 2, func(c *Cluster, pot client.Secret) {
		j := c.User.Submit(pot, Spec("run", "40s", "0"))
		long := c.User.Submit(pot, Spec("run", "400s", "0"))
		c.User.Await(j, "running")
		c.User.Await(long, "running")
		c.User.Await(j, "done")
		first := c.runs(long)[0]
		node, _ := c.Leader().View().Node(first.Nodes[0])
		c.Isolate(node.Name)
		cut := time.Now()
		c.Until("the node is given up", func() bool {
			n, _ := c.Leader().View().Node(node.ID)
			return n.State == scheduler.NodeLost
		})
		if after := time.Since(cut); after < 64*time.Second || after > 77*time.Second {
			t.Errorf("given up after %v", after)
		}
		c.Until("it runs elsewhere", func() bool {
			r := c.runs(long)
			if len(r) == 0 {
				return false // given up, and not placed again yet
			}
			last := r[len(r)-1]
			return last.ID != first.ID && last.State == scheduler.RunRunning && last.Nodes[0] != node.ID
		})
		for _, e := range c.Executors {
			if e.Name == node.Name && e.Running(uint64(first.ID)) {
				t.Error("the lost machine's task still runs")
			}
		}
		c.Wait(10 * time.Second)
		c.HealAll()
		done := c.User.Await(long, "done")
		if r := c.User.Receipt(long); *done.ExitCode != 0 || r.BilledMs < 399_900 || r.BilledMs > 400_200 {
			t.Errorf("code %d, billed %d ms", *done.ExitCode, r.BilledMs)
		}
		c.Until("the machine takes work again", func() bool {
			n, _ := c.Leader().View().Node(node.ID)
			return n.State == scheduler.NodeUp
		})
		c.Wait(5 * time.Minute)
		if n, _ := c.Leader().View().Node(node.ID); n.State != scheduler.NodeUp {
			t.Errorf("a machine that is back became %v", n.State)
		}
	})
}
