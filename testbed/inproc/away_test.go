package inproc

import (
	"os"
	"strconv"
	"testing"

	"github.com/coinop/coinop/api/client"
)

// awayEntries is how many entries a server misses; COINOP_AWAY sets it.
func awayEntries(t *testing.T) int {
	t.Helper()
	text := os.Getenv("COINOP_AWAY")
	if text == "" {
		return 400
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("COINOP_AWAY=%s: want a number of entries from 1", text)
	}
	return n
}

// A server that was away while the others forgot the log that it lacks, and two that join only then, one of them by way of
// the other two's snapshots: all end with the same book, link by link.
func TestServersThatWereAwayOrCameLateHaveTheSameBook(t *testing.T) {
	tuned := snapshotsSoon()
	tuned.EventsMax = 64 // what was missed is in no server's memory
	PlayTuned(t, 3, 1, tuned, func(c *Cluster) {
		c.User.Issue(1_000_000)
		pot := c.User.Pot(900_000)
		away := c.Follower()
		before := away.View()
		away.Kill()
		most := before.Index() + uint64(awayEntries(t))
		var last Job
		for c.Leader().View().Index() < most {
			last = c.User.Submit(pot, small())
		}
		c.User.Await(last, "done")
		away.Restart()
		c.Until("it has caught up", func() bool { return away.View().Index() >= most })
		c.addServer()
		c.addServer()
		if err := c.Agree(); err != nil {
			t.Error(err)
		}
		if now := away.View(); now.Seq() < before.Seq()+uint64(tuned.EventsMax) {
			t.Errorf("it missed %d events only", now.Seq()-before.Seq())
		}
		done := c.User.Await(c.User.Submit(pot, small()), "done")
		if done.ExitCode == nil || *done.ExitCode != 0 {
			t.Errorf("the next job: %+v", done)
		}
		if err := c.Agree(); err != nil {
			t.Error(err)
		}
	})
}

func small() client.JobSpec {
	spec := Spec("exit", "0")
	spec.TimeMs = 10_000
	return spec
}
