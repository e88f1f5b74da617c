package inproc

import "testing"

func TestAJobFromPotMoneyRunsToItsReceipt(t *testing.T) {
	Play(t, 3, 2, func(c *Cluster) {
		c.User.Issue(10_000)
		pot := c.User.Pot(9_000)
		job := c.User.Submit(pot, Spec("run", "10s", "3"))
		done := c.User.Await(job, "done")
		if done.ExitCode == nil || *done.ExitCode != 3 {
			t.Errorf("exit code %v", done.ExitCode)
		}
		r := c.User.Receipt(job)
		if r.BilledMs < 9_990 || r.BilledMs > 10_100 || r.DepositedMicro != r.ChargedMicro+r.RefundedMicro {
			t.Errorf("%+v", r)
		}
	})
}
