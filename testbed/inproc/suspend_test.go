package inproc

import (
	"slices"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/scheduler"
)

// dry plays a story of a task that takes a whole machine, ran for some seconds and is suspended, because its pot has nothing
// left but the pause reserve.
func dry(t *testing.T, servers int, story func(c *Cluster, pot client.Secret, j Job)) {
	t.Helper()
	Play(t, servers, 0, func(c *Cluster) {
		c.disks = true
		c.AddExecutor()
		c.User.Issue(1_000_000)
		pot := c.User.Pot(2_460) // ten minutes of reserve for four CPUs are 2,400
		spec := Spec("run", "60s", "0")
		spec.Mode, spec.CPUMilli, spec.TimeMs = "stream", cpusOf*1000, 120_000
		j := c.User.Submit(pot, spec)
		c.awaitRun(j, scheduler.RunSuspended)
		story(c, pot, j)
	})
}

func (c *Cluster) awaitRun(j Job, state scheduler.RunState) {
	c.T.Helper()
	c.Until("the run becomes "+state.String(), func() bool {
		runs := c.runs(j)
		return len(runs) == 1 && runs[0].State == state
	})
}

// wholeMachine runs a task on all that the machine has, and waits for its end.
func (c *Cluster) wholeMachine() {
	c.T.Helper()
	spec := Spec("run", "1s", "0")
	spec.CPUMilli = cpusOf * 1000
	c.User.Await(c.User.Submit(c.User.Pot(100_000), spec), "done")
}

// finishes tops the pot up and holds what the task was billed against how long it ran.
func (c *Cluster) finishes(pot client.Secret, j Job) {
	c.T.Helper()
	c.User.Fund(pot, 10_000)
	if done := c.User.Await(j, "done"); done.Reason != "exited" || *done.ExitCode != 0 {
		c.T.Errorf("it ended as %s with code %d", done.Reason, *done.ExitCode)
	}
	c.billed(j)
	runs := c.history(j)
	if len(runs) != 1 || c.Executors[0].Starts(runs[0].Run) != 1 {
		c.T.Errorf("it had %d runs: %+v", len(runs), runs)
	}
}

// billed says that a task of a minute was billed for that and for being kept.
func (c *Cluster) billed(j Job) {
	c.T.Helper()
	r := c.User.Receipt(j)
	kept := slices.ContainsFunc(r.Lines, func(l client.ReceiptLine) bool { return l.What == "kept while suspended" && l.AmountMicro > 0 })
	// What it waited for being frozen and brought to disk is part of the pause, and billed.
	if billed := time.Duration(r.BilledMs) * time.Millisecond; billed < 60*time.Second || billed > 65*time.Second || !kept {
		c.T.Errorf("a minute was billed as %v: %+v", billed, r.Lines)
	}
}

func TestATaskOnDiskGivesItsPlaceAwayAndGoesOnWithMoney(t *testing.T) {
	dry(t, 1, func(c *Cluster, pot client.Secret, j Job) {
		if job := c.User.Show(j); job.State != "paused" {
			t.Errorf("the job is %s", job.State)
		}
		c.wholeMachine()
		c.Wait(3 * time.Minute) // longer than its time limit, which stands still
		c.finishes(pot, j)
	})
}

func TestATaskStaysOnDiskThroughRestartsAndChangesOfLeader(t *testing.T) {
	dry(t, 3, func(c *Cluster, pot client.Secret, j Job) {
		e := c.Executors[0]
		e.Stop()
		c.Wait(5 * time.Second)
		e.Start()
		c.Wait(5 * time.Second)
		old := c.Leader()
		old.Kill()
		c.Wait(5 * time.Second)
		old.Restart()
		c.awaitRun(j, scheduler.RunSuspended)
		c.wholeMachine()
		c.finishes(pot, j)
	})
}

// What is suspended again is charged for all that it ran in between.
func TestATaskOnDiskForTheSecondTimeIsChargedForBothStretches(t *testing.T) {
	dry(t, 1, func(c *Cluster, pot client.Secret, j Job) {
		c.Wait(time.Minute)
		c.User.Fund(pot, 60) // some seconds
		c.awaitRun(j, scheduler.RunRunning)
		c.awaitRun(j, scheduler.RunSuspended)
		c.finishes(pot, j)
	})
}

// Whose money does not come is told when it ends, and ends; what it was not charged comes back.
func TestATaskOnDiskIsDroppedWhenTheGraceIsOver(t *testing.T) {
	dry(t, 1, func(c *Cluster, pot client.Secret, j Job) {
		c.Wait(11 * time.Minute)
		done := c.User.Await(j, "done")
		if done.Reason != "pause_grace" {
			t.Errorf("it ended as %s", done.Reason)
		}
		if r := c.User.Receipt(j); r.ChargedMicro > 100_000_000 {
			t.Errorf("some seconds and ten minutes on disk cost %d: %+v", r.ChargedMicro, r.Lines)
		}
	})
}

// stored waits until the servers have what the task was, too.
func (c *Cluster) stored(j Job) {
	c.T.Helper()
	c.Until("the servers have the task", func() bool {
		runs := c.runs(j)
		return len(runs) == 1 && runs[0].Parked != nil && runs[0].Parked.Stored != nil
	})
}

// elsewhere tops the pot up and holds against each other how long the task ran here and there.
func (c *Cluster) elsewhere(pot client.Secret, j Job) {
	c.T.Helper()
	c.User.Fund(pot, 10_000)
	if done := c.User.Await(j, "done"); done.Reason != "exited" || *done.ExitCode != 0 {
		c.T.Errorf("it ended as %s with code %d", done.Reason, *done.ExitCode)
	}
	runs := c.history(j) // the latest first
	if len(runs) != 2 || runs[1].Reason != "moved" || c.Executors[0].Starts(runs[1].Run) != 1 || c.Executors[1].Starts(runs[0].Run) != 1 {
		c.T.Fatalf("it did not move: %+v", runs)
	}
	if ran := runs[0].Ended.Sub(*runs[0].Started); ran > 57*time.Second {
		c.T.Errorf("it ran for %v elsewhere: it began anew", ran)
	}
	c.billed(j)
}

func TestATaskOnDiskGoesOnElsewhereWhenItsMachineIsGone(t *testing.T) {
	dry(t, 3, func(c *Cluster, pot client.Secret, j Job) {
		c.stored(j)
		c.Executors[0].Stop()
		c.AddExecutor()
		c.Wait(5 * time.Minute) // long lost
		c.awaitRun(j, scheduler.RunSuspended)
		c.elsewhere(pot, j)
	})
}

func TestATaskOnDiskGoesOnWhereThereIsRoom(t *testing.T) {
	dry(t, 1, func(c *Cluster, pot client.Secret, j Job) {
		c.stored(j)
		spec := Spec("run", "1h", "0")
		spec.CPUMilli, spec.TimeMs = cpusOf*1000, 2*3_600_000
		other := c.User.Submit(c.User.Pot(100_000), spec)
		c.awaitRun(other, scheduler.RunRunning)
		c.AddExecutor()
		c.elsewhere(pot, j)
		if c.Executors[0].Running(c.history(j)[1].Run) {
			t.Error("its first machine still has it")
		}
	})
}

// A machine that is restarted while it brings a task to the servers begins again.
func TestATaskIsBroughtToTheServersThroughRestarts(t *testing.T) {
	dry(t, 1, func(c *Cluster, pot client.Secret, j Job) {
		e := c.Executors[0]
		e.Stop()
		c.Wait(5 * time.Second)
		e.Start()
		c.stored(j)
		e.Stop()
		c.AddExecutor()
		c.Wait(5 * time.Minute)
		c.elsewhere(pot, j)
	})
}
