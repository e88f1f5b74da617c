package inproc

import (
	"github.com/coinop/coinop/api/client"
	"testing"
	"time"

	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/scheduler"
)

func ms(d time.Duration) *int64 { n := d.Milliseconds(); return &n }

func began(run uint64, age time.Duration) *wire.RunStatus {
	return &wire.RunStatus{Run: run, State: wire.RunState_RUN_STATE_RUNNING, StartedAgeMs: ms(age)}
}

func exited(run uint64, age, ran time.Duration, code int32) *wire.RunStatus {
	return &wire.RunStatus{Run: run, State: wire.RunState_RUN_STATE_ENDED, StartedAgeMs: ms(age), RanMs: ms(ran),
		End: &wire.End{Cause: wire.Cause_CAUSE_EXITED, Code: code}}
}

// Whatever is said again, late, in the wrong order or after the end: a run is what was said first.
func TestWhatIsSaidAgainChangesNothing(t *testing.T) {
	funded(t, 1, 0, func(c *Cluster, pot client.Secret) {
		p := c.AddPuppet()
		p.Connect(c.Leader())
		j := c.User.Submit(pot, Spec("block"))
		run := p.Ordered(j)
		c.Wait(20 * time.Second)
		p.Say(began(run, 10*time.Second))
		c.User.Await(j, "running")
		started := c.runs(j)[0].Start
		p.Say(began(run, 15*time.Second), began(run, time.Second))
		p.Say(&wire.RunStatus{Run: run, State: wire.RunState_RUN_STATE_PREPARING}) // overtaken on its way
		c.Wait(time.Second)
		if r := c.runs(j)[0]; r.Start != started || r.State != scheduler.RunRunning {
			t.Fatalf("a repeated start moved the run: %+v", r)
		}
		p.Say(exited(run, 12*time.Second, 5*time.Second, 3))
		p.Say(exited(run, 12*time.Second, 5*time.Second, 3), exited(run, 12*time.Second, 11*time.Second, 4))
		done := c.User.Await(j, "done")
		receipt := c.User.Receipt(j)
		p.Say(exited(run, 20*time.Second, 12*time.Second, 5), began(run, time.Second))
		c.Wait(time.Minute)
		if again := c.User.Receipt(j); again.ChargedMicro != receipt.ChargedMicro || again.BilledMs != receipt.BilledMs || receipt.BilledMs != 5_000 {
			t.Errorf("billed %d ms, then %d", receipt.BilledMs, again.BilledMs)
		}
		if *done.ExitCode != 3 {
			t.Errorf("exit code %d", *done.ExitCode)
		}
		if _, named := p.Orders()[run]; named {
			t.Error("an ended run is still ordered")
		}
	})
}

func TestAnExecutorSpeaksOfItsOwnRunsOnly(t *testing.T) {
	funded(t, 1, 0, func(c *Cluster, pot client.Secret) {
		p := c.AddPuppet()
		p.Connect(c.Leader())
		j := c.User.Submit(pot, Spec("block"))
		run := p.Ordered(j)
		other := c.AddPuppet()
		other.Connect(c.Leader())
		other.Say(exited(run, time.Second, time.Second, 0), exited(run+100, time.Second, time.Second, 0))
		c.Until("it is heard", func() bool { return other.Leased(other.seq) })
		c.Wait(time.Second)
		if r := c.runs(j)[0]; r.State != scheduler.RunPlaced {
			t.Errorf("another machine's word changed the run: %+v", r)
		}
	})
}

// A machine whose clock is a day off, or that slept, is billed by lengths of time alone.
func TestAClockThatIsADayOffBillsNobody(t *testing.T) {
	funded(t, 1, 1, func(c *Cluster, pot client.Secret) {
		e := c.Executors[0]
		e.Stop()
		e.Sleep(24 * time.Hour)
		e.Driver.Set(e.boot())
		e.Start()
		j := c.User.Submit(pot, Spec("run", "10s", "0"))
		c.User.Await(j, "done")
		if r := c.User.Receipt(j); r.BilledMs < 9_990 || r.BilledMs > 10_100 {
			t.Errorf("ten seconds were billed as %d ms", r.BilledMs)
		}
	})
	funded(t, 1, 0, func(c *Cluster, pot client.Secret) {
		p := c.AddPuppet()
		p.Connect(c.Leader())
		j := c.User.Submit(pot, Spec("block"))
		run := p.Ordered(j)
		c.Wait(5 * time.Second)
		p.Say(exited(run, 24*time.Hour, 48*time.Hour, 0)) // longer than it was placed
		c.User.Await(j, "done")
		if r := c.User.Receipt(j); r.BilledMs > 5_500 {
			t.Errorf("five seconds were billed as %d ms", r.BilledMs)
		}
	})
}
