package inproc

import (
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
)

// A time limit that is moved while a task runs is kept by its machine, also by an agent that comes back.
func TestATimeLimitIsMovedWhileTheTaskRuns(t *testing.T) {
	funded(t, 1, 1, func(c *Cluster, pot client.Secret) {
		limited := Spec("run", "100s", "0")
		limited.Mode, limited.TimeMs = "stream", 40_000
		moved, left, restarted := c.User.Submit(pot, limited), c.User.Submit(pot, limited), c.User.Submit(pot, limited)
		for _, j := range []Job{moved, left, restarted} {
			c.User.Await(j, "running")
		}
		longer := int64(150_000)
		for _, j := range []Job{moved, restarted, moved} { // one answer was lost
			if now, err := c.User.API.Cap(c.T.Context(), j.Job, j.Secret.Key("control"), client.CapRequest{TimeMs: &longer}); err != nil || now.TimeMs != longer {
				t.Fatalf("%+v, %v", now, err)
			}
		}
		if run := c.history(moved)[0]; run.Until.Sub(*run.Started) != 150*time.Second {
			t.Errorf("its end is %s after its start", run.Until.Sub(*run.Started))
		}
		if done := c.User.Await(left, "done"); done.Reason != "time_limit" {
			t.Errorf("the one that was left as it was ended for %q", done.Reason)
		}
		e := c.Executors[0]
		e.Stop()
		c.Wait(5 * time.Second)
		e.Start()
		for _, j := range []Job{moved, restarted} {
			done := c.User.Await(j, "done")
			if done.Reason != "exited" || *done.ExitCode != 0 || len(c.history(j)) != 1 {
				t.Errorf("job %d ended for %q with %d in %d runs", j.Job, done.Reason, *done.ExitCode, len(c.history(j)))
			}
		}
	})
}
