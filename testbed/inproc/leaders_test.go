package inproc

import (
	"fmt"
	"github.com/coinop/coinop/api/client"
	"testing"
	"time"
)

// Leaders come and go while tasks start and end: every task runs once, no end is lost, none counts twice.
func TestWorkGoesOnThroughChangesOfLeader(t *testing.T) {
	funded(t, 3, 2, func(c *Cluster, pot client.Secret) {
		var jobs []Job
		want := map[uint64]time.Duration{}
		for i := range 3 * cpusOf {
			d := time.Duration(1+i) * time.Second
			j := c.User.Submit(pot, Spec("run", d.String(), fmt.Sprint(i)))
			want[j.Job] = d
			jobs = append(jobs, j)
		}
		for range 2 {
			old := c.Leader()
			old.Kill()
			c.Wait(4 * time.Second)
			old.Restart()
			c.Wait(4 * time.Second)
		}
		var charged int64
		for i, j := range jobs {
			done := c.User.Await(j, "done")
			runs := c.history(j)
			if *done.ExitCode != int32(i) || len(runs) != 1 {
				t.Errorf("job %d: code %d, %d runs", j.Job, *done.ExitCode, len(runs))
				continue
			}
			starts := 0
			for _, e := range c.Executors {
				starts += e.Starts(runs[0].Run)
			}
			r := c.User.Receipt(j)
			charged += r.ChargedMicro
			if over := time.Duration(r.BilledMs)*time.Millisecond - want[j.Job]; starts != 1 || over < -10*time.Millisecond || over > 100*time.Millisecond {
				t.Errorf("job %d: %d starts, %v billed as %d ms", j.Job, starts, want[j.Job], r.BilledMs)
			}
		}
		p, err := c.User.API.Pot(c.T.Context(), pot.Key("fund"), pot.Key("view"))
		c.User.must(err)
		if p.ChargedMicro != charged || p.HeldMicro != 0 {
			t.Errorf("receipts say %d, the pot %d charged and %d held", charged, p.ChargedMicro, p.HeldMicro)
		}
	})
}

// A leader that is cut off with some of the machines leaves nothing in the log, and the machines find the new one.
func TestALeaderThatIsCutOffDecidesNothing(t *testing.T) {
	funded(t, 3, 2, func(c *Cluster, pot client.Secret) {
		old := c.Leader()
		running := c.User.Submit(pot, Spec("run", "60s", "0"))
		c.User.Await(running, "running")
		others := []string{userHost}
		for _, s := range c.Servers {
			if s != old {
				others = append(others, s.Name)
			}
		}
		c.Isolate(old.Name, others...)
		before := old.View().Index()
		c.Until("it knows", func() bool { return !old.Leads() })
		c.Until("another one leads", func() bool { return c.Leader() != old })
		next := c.User.Submit(pot, Spec("run", "1s", "0"))
		c.User.Await(next, "done")
		c.User.Await(running, "done")
		if after := old.View().Index(); after != before {
			t.Errorf("the old leader went on from %d to %d", before, after)
		}
		for _, j := range []Job{running, next} {
			if runs := c.history(j); len(runs) != 1 {
				t.Errorf("job %d has %d runs", j.Job, len(runs))
			}
		}
		c.HealAll()
		c.Until("the old leader has caught up", func() bool { return old.View().Index() >= c.Leader().View().Index() })
		if old.View().Sum() != c.Leader().View().Sum() && old.View().Index() == c.Leader().View().Index() {
			t.Error("it made something else of the log")
		}
	})
}
