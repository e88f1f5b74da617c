package inproc

import (
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/scheduler"
)

// Work that was there before the machine said what drivers it has is placed when it says so.
func TestWorkThatWaitsForAMachinesFactsIsPlaced(t *testing.T) {
	funded(t, 1, 0, func(c *Cluster, pot client.Secret) {
		p := c.AddPuppet()
		j := c.User.Submit(pot, Spec("block"))
		c.Wait(5 * time.Second)
		if len(c.runs(j)) != 0 {
			t.Fatal("it was placed on a machine that has told of no driver")
		}
		p.Connect(c.Leader())
		p.Ordered(j)
	})
}

// A running task writes no entries, so the log of a busy cluster can rest for hours. Whoever leads then begins its time at
// the last entry, long ago, and moves on to the wall clock: that no machine was heard for so long is not the machines' doing.
func TestTasksOfAQuietClusterLiveThroughAChangeOfLeader(t *testing.T) {
	funded(t, 3, 2, func(c *Cluster, pot client.Secret) {
		j := c.User.Submit(pot, Spec("run", "1500s", "0"))
		c.User.Await(j, "running")
		before := c.runs(j)[0]
		c.Wait(20 * time.Minute)
		if last := time.UnixMilli(int64(c.Leader().View().At())); time.Since(last) < 10*time.Minute {
			t.Fatalf("the log rests for %v only", time.Since(last))
		}
		c.Leader().Kill()
		c.Until("another leads", func() bool { return c.Leader() != nil })
		c.Wait(2 * time.Minute)
		for _, n := range c.Leader().View().Nodes() {
			if n.State != scheduler.NodeUp {
				t.Errorf("machine %s is %v", n.Name, n.State)
			}
		}
		done := c.User.Await(j, "done")
		runs := c.history(j)
		if len(runs) != 1 || runs[0].Run != uint64(before.ID) || *done.ExitCode != 0 {
			t.Errorf("it did not just go on: %+v", runs)
		}
		if r := c.User.Receipt(j); r.BilledMs < 1_499_900 || r.BilledMs > 1_500_200 {
			t.Errorf("25 minutes were billed as %d ms", r.BilledMs)
		}
	})
}
