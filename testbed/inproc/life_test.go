//go:build e2e

package inproc

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/drivers"
)

// lifeHours is how long the cluster lives; COINOP_LIFE sets it. It is looked at three times.
func lifeHours(t *testing.T) int {
	t.Helper()
	text := os.Getenv("COINOP_LIFE")
	if text == "" {
		return 6
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 3 || n%3 != 0 {
		t.Fatalf("COINOP_LIFE=%s: want a number of hours that is a multiple of 3", text)
	}
	return n
}

// unhurried servers talk to each other as seldom as they may, so that three days of them are played in minutes; and whatever
// has a size is small, so that it has come round many times by then.
func unhurried() consensus.Tuning {
	return consensus.Tuning{
		Heartbeat: 10 * time.Second, Election: 10 * time.Second, Commit: time.Second, LeaderWait: time.Minute, Members: 10 * time.Second,
		Checksums: time.Minute, Disk: time.Minute,
		SnapshotBytes: 16 << 10, TrailingLogs: 200, SegmentBytes: 1 << 20, EventsMax: 1024,
	}
}

// A cluster that lives on under work, restarts and cuts takes no more at the end of its third day than at the end of the
// second, but for what it keeps on purpose; and that goes when its time is over.
func TestDaysOfWorkLeaveNothingBehind(t *testing.T) {
	PlayTuned(t, 3, 0, unhurried(), func(c *Cluster) {
		c.beat = time.Second
		c.addWorkers(2)
		hours, real := lifeHours(t), realClock()
		var looks []footprint
		var last Job
		for hour := range hours {
			last = c.liveAnHour(hour)
			if (hour+1)%(hours/3) == 0 {
				c.Wait(2 * time.Hour) // nothing that may still be named soon is left
				c.date()
				c.Wait(2 * time.Hour)
				looks = append(looks, c.footprint())
				t.Logf("after %d hours, %v of real time: %v", hour+1, realClock()-real, looks[len(looks)-1])
			}
		}
		for _, grown := range looks[2].since(looks[1]) {
			t.Error(grown)
		}
		if err := c.Agree(); err != nil {
			t.Error(err)
		}
		c.sleep(8 * 24 * time.Hour)
		c.Until("what is past its retention is forgotten", func() bool { return !c.known(last) })
		c.Wait(2 * time.Hour)
		after := c.footprint()
		t.Logf("after a week of rest: %v", after)
		if after.jobs != 0 {
			t.Errorf("%d jobs are in memory after their retention", after.jobs)
		}
		for _, s := range c.Servers {
			if n := after.dirs[s.Name+"/blobs"].files; n > countSlack {
				t.Errorf("%s keeps %d files of jobs that are forgotten", s, n)
			}
		}
		if err := c.Agree(); err != nil {
			t.Error(err)
		}
	})
}

func (c *Cluster) addWorkers(n int) {
	for range n {
		e := c.AddExecutor()
		e.Stop()
		e.Config.StoreBytes = 64 << 10 // of inputs: it is full soon
		e.writes = func(task drivers.Task) {
			file := filepath.Join(task.WorkDir, "out.txt")
			_ = os.WriteFile(file, []byte("made by "+task.ID), 0o600) // an output that is missing is found by liveAnHour
			if info, err := os.Stat(task.WorkDir); err == nil {
				owner := info.Sys().(*syscall.Stat_t)
				_ = os.Chown(file, int(owner.Uid), int(owner.Gid))
			}
		}
		e.Start()
	}
}

// liveAnHour is an hour's work, and one thing that happens to machines. It gives the last job.
func (c *Cluster) liveAnHour(hour int) (last Job) {
	u, ctx := c.User, c.T.Context()
	if hour%12 == 0 {
		u.Issue(100_000)
	}
	pot := u.Pot(8_000)
	var jobs []Job
	for part := range 6 {
		c.date()
		if part == 3 {
			c.happen(hour)
		}
		spec := Spec("run", "40s", "0")
		spec.TimeMs, spec.Outputs = 120_000, []string{"out.txt"}
		spec.Inputs = []client.InputFile{c.input(fmt.Sprintf("hour %d part %d %s", hour, part, bytes.Repeat([]byte("x"), 8<<10)))}
		_, err := u.API.Quote(ctx, client.QuoteRequest{Job: spec})
		u.must(err)
		jobs = append(jobs, u.Submit(pot, spec))
		if part == 0 {
			spec = Spec("run", "45m", "0")
			spec.Mode, spec.TimeMs = "stream", 0
			jobs = append(jobs, u.Submit(pot, spec))
		}
		c.Wait(10 * time.Minute)
	}
	for i, j := range jobs {
		c.finished(j)
		if files, err := u.API.Outputs(ctx, j.Job, j.Secret.Key("view")); i != 1 && (err != nil || len(files.Files) == 0) {
			c.T.Errorf("hour %d: job %d left %+v, %v", hour, j.Job, files, err)
		}
	}
	_, err := u.API.ClosePot(ctx, pot.Key("fund"), pot.Key("control"))
	u.must(err)
	c.Until("the change is there", func() bool {
		gained, err := u.Wallet.CollectChange(ctx, u.Mint)
		return err == nil && gained > 0
	})
	return jobs[len(jobs)-1]
}

// finished waits for a job's end without asking all the time.
func (c *Cluster) finished(j Job) {
	c.T.Helper()
	for late := time.Now().Add(time.Hour); ; {
		job, err := c.User.API.WaitJob(c.T.Context(), j.Job, j.Secret.Key("view"), time.Minute)
		if err == nil && job.State == "done" {
			if job.ExitCode == nil || *job.ExitCode != 0 {
				c.T.Errorf("job %d ended by %s: %+v", j.Job, job.Reason, job.Private)
			}
			return
		}
		if time.Now().After(late) {
			c.T.Fatalf("job %d is %s, %v", j.Job, job.State, err)
		}
	}
}

// input stores bytes that a job asks for.
func (c *Cluster) input(text string) client.InputFile {
	c.T.Helper()
	sum := sha256.Sum256([]byte(text))
	c.User.must(c.User.API.PutBlob(c.T.Context(), sum, int64(len(text)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(text))), nil }))
	return client.InputFile{To: "in.txt", SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text))}
}

// happen is what befalls the machines in an hour.
func (c *Cluster) happen(hour int) {
	e := c.Executors[hour%len(c.Executors)]
	switch hour % 6 {
	case 0:
		s := c.Leader()
		s.Kill()
		c.Leader()
		s.Restart()
	case 1:
		e.Stop()
		c.Wait(20 * time.Second)
		e.Start()
	case 2:
		s := c.Follower()
		s.Stop()
		c.Wait(time.Minute)
		s.Start()
	case 3:
		c.Isolate(e.Name)
		c.Wait(40 * time.Second) // less than a lease
		c.HealAll()
	case 4:
		_, err := c.User.API.Snapshot(c.T.Context(), io.Discard)
		c.User.must(err)
	case 5:
		s := c.Leader()
		s.Stop()
		c.Leader()
		s.Start()
	}
	c.Wait(time.Minute)
}

// sleep switches all machines off for a while.
func (c *Cluster) sleep(d time.Duration) {
	for _, e := range c.Executors {
		e.Stop()
	}
	for _, s := range c.Servers {
		s.Stop()
	}
	time.Sleep(d)
	for _, s := range c.Servers {
		s.Start()
	}
	for _, e := range c.Executors {
		e.Start()
	}
	c.Leader()
}
