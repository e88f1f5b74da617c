package inproc

import (
	"github.com/coinop/coinop/api/client"
	"testing"
	"time"

	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/scheduler"
)

// funded plays a story whose user has a pot.
func funded(t *testing.T, servers, executors int, story func(c *Cluster, pot client.Secret)) {
	t.Helper()
	Play(t, servers, executors, func(c *Cluster) {
		c.User.Issue(1_000_000)
		story(c, c.User.Pot(900_000))
	})
}

// runs lists a job's runs that have not ended.
func (c *Cluster) runs(j Job) (list []*scheduler.Run) {
	c.Leader().View().RunsOf(scheduler.JobID(j.Job), func(r *scheduler.Run) bool {
		list = append(list, r)
		return true
	})
	return list
}

// history lists all runs of a job that has not been forgotten.
func (c *Cluster) history(j Job) []client.Run {
	return c.User.Show(j).Private.Runs
}

func TestEveryNodeRunsItsOwnTasksOnce(t *testing.T) {
	funded(t, 1, 2, func(c *Cluster, pot client.Secret) {
		var jobs []Job
		for range 2 * cpusOf {
			jobs = append(jobs, c.User.Submit(pot, Spec("run", "30s", "0")))
		}
		for _, j := range jobs {
			c.User.Await(j, "running")
		}
		placed := map[string]int{}
		for _, j := range jobs {
			for _, r := range c.runs(j) {
				node, _ := c.Leader().View().Node(r.Nodes[0])
				placed[node.Name]++
				for _, e := range c.Executors {
					want := 0
					if e.Name == node.Name {
						want = 1
					}
					if got := e.Starts(uint64(r.ID)); got != want {
						t.Errorf("run %d of %s was started %d times on %s", r.ID, node.Name, got, e.Name)
					}
				}
			}
		}
		if placed["e0"] != cpusOf || placed["e1"] != cpusOf {
			t.Errorf("placed: %v", placed)
		}
		for _, j := range jobs {
			c.User.Await(j, "done")
		}
	})
}

func TestAnExecutorThatComesBackIsToldEverythingAgain(t *testing.T) {
	funded(t, 1, 1, func(c *Cluster, pot client.Secret) {
		e := c.Executors[0]
		stays := c.User.Submit(pot, Spec("run", "100s", "0"))
		goes := c.User.Submit(pot, Spec("block"))
		c.User.Await(stays, "running")
		c.User.Await(goes, "running")
		c.Isolate(e.Name)
		_, err := c.User.API.Cancel(c.T.Context(), goes.Job, goes.Secret.Key("control"), "")
		c.User.must(err)
		comes := c.User.Submit(pot, Spec("run", "1s", "0"))
		c.Wait(20 * time.Second)
		c.HealAll()
		for _, j := range []Job{stays, goes, comes} {
			c.User.Await(j, "done")
			if runs := c.history(j); len(runs) != 1 || e.Starts(runs[0].Run) != 1 {
				t.Errorf("job %d: %d runs", j.Job, len(runs))
			}
		}
		if j := c.User.Show(goes); j.Reason != "cancelled" {
			t.Errorf("the cancelled job ended for %q", j.Reason)
		}
	})
}

func TestTasksLiveThroughARestartOfTheirAgent(t *testing.T) {
	funded(t, 1, 1, func(c *Cluster, pot client.Secret) {
		e := c.Executors[0]
		j := c.User.Submit(pot, Spec("run", "100s", "4"))
		c.User.Await(j, "running")
		e.Stop()
		c.Wait(10 * time.Second)
		e.Start()
		done := c.User.Await(j, "done")
		if runs := c.history(j); len(runs) != 1 || e.Starts(runs[0].Run) != 1 || *done.ExitCode != 4 {
			t.Errorf("%d runs, code %d", len(runs), *done.ExitCode)
		}
	})
}

// A set is whole, names the specs once a stream, and comes again whole on the next stream.
func TestASetIsWholeAndSpecsComeOnceAStream(t *testing.T) {
	funded(t, 1, 0, func(c *Cluster, pot client.Secret) {
		p := c.AddPuppet()
		p.Connect(c.Leader())
		one := p.Ordered(c.User.Submit(pot, Spec("block")))
		two := p.Ordered(c.User.Submit(pot, Spec("block")))
		orders := p.Orders()
		if len(orders) != 2 || orders[one].Spec != nil || orders[two].Spec == nil {
			t.Errorf("the second set: %v", orders)
		}
		p.Connect(c.Leader(), &wire.RunStatus{Run: one, State: wire.RunState_RUN_STATE_PREPARING})
		c.Until("orders come", func() bool { return len(p.Orders()) > 0 })
		orders = p.Orders()
		if len(orders) != 2 || orders[one].Spec != nil || orders[two].Spec == nil {
			t.Errorf("on the next stream: %v", orders)
		}
		before := len(p.Heard())
		said := p.Say()
		c.Until("a report is answered", func() bool { return p.Leased(said) })
		for _, d := range p.Heard()[before:] {
			if !d.Same || len(d.Orders) != 0 {
				t.Errorf("nothing has changed, and %d orders came again", len(d.Orders))
			}
		}
	})
}
