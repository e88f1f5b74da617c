//go:build e2e

package inproc

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/api/client"
)

// A day is longer than every limit of a job's here, and than what is remembered of requests paid from a pot.
const day = 24 * time.Hour

// wrong is a wall clock that is off, or that drifts.
func wrong(off time.Duration, drift float64) func() time.Time {
	began := time.Now()
	return func() time.Time {
		now := time.Now()
		return now.Add(off + time.Duration(drift*float64(now.Sub(began))))
	}
}

// alarms are what the operator sees of one server.
func (c *Cluster) alarms(s *Server) (list string, metric string) {
	c.T.Helper()
	api := c.apiOf(c.User.http, s)
	servers, err := api.ServerList(c.T.Context())
	c.User.must(err)
	for _, one := range servers.Servers {
		list += one.Alarm
	}
	r, err := c.User.http.Get("http://" + s.Config.HTTP + "/metrics")
	c.User.must(err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	c.User.must(err)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "coinop_alarm ") {
			metric = strings.TrimSpace(line)
		}
	}
	return list, metric
}

// hand gives the lead to a server: the others stop until it has it.
func (c *Cluster) hand(to *Server) {
	c.T.Helper()
	for c.Leader() != to {
		old := c.Leader()
		old.Kill()
		c.Until("another leads", func() bool { return c.Leader() != old })
		old.Restart()
		c.Wait(5 * time.Second) // so that it can be chosen too
	}
}

// Whoever leads with a wrong clock: a running task is billed for what it ran, no limit strikes, keysets do not expire, who asks
// with a right clock is answered, and an alarm says what is wrong.
func TestALeadersWrongClockIsNobodysLoss(t *testing.T) {
	for name, c := range map[string]struct {
		off   time.Duration
		drift float64
	}{
		"a day ahead":  {day, 0},
		"a day behind": {-day, 0},
		"drifting":     {time.Minute, 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			funded(t, 3, 1, func(cl *Cluster, pot client.Secret) { leadWrongly(t, cl, pot, c.off, c.drift) })
		})
	}
}

func leadWrongly(t *testing.T, c *Cluster, pot client.Secret, off time.Duration, drift float64) {
	s := c.Follower()
	s.Stop()
	s.Config.Wall = wrong(off, drift)
	s.Start()
	spec := Spec("run", "200s", "0")
	spec.TimeMs = 600_000
	j := c.User.Submit(pot, spec)
	c.User.Await(j, "running")
	c.hand(s)
	c.Until("an alarm is raised", func() bool { list, _ := c.alarms(s); return strings.Contains(list, "agrees with this one on the time") })
	if _, metric := c.alarms(s); metric != "coinop_alarm 1" {
		t.Errorf("the metric says %q", metric)
	}
	for _, other := range c.Servers {
		if list, _ := c.alarms(other); list == "" {
			t.Errorf("%s does not tell of it", other.Name)
		}
	}
	if at := time.UnixMilli(int64(s.View().At())); time.Since(at) < -2*time.Second || time.Since(at) > 5*time.Minute {
		t.Errorf("cluster time is %v off", -time.Since(at))
	}
	next := c.User.Submit(pot, Spec("run", "10s", "0")) // its request's number tells the right time
	c.User.Issue(10)                                    // of a keyset that has not expired
	ran := int64(200_000)
	for _, job := range []Job{j, next} {
		done := c.User.Await(job, "done")
		r := c.User.Receipt(job)
		// Time goes on from the last entry: what lies between it and the new leader is the operator's loss, never its users'.
		if done.Reason != "exited" || *done.ExitCode != 0 || r.BilledMs < ran-60_000 || r.BilledMs > ran+200 {
			t.Errorf("%d ms of work ended by %s, billed as %d ms", ran, done.Reason, r.BilledMs)
		}
		if runs := c.history(job); len(runs) != 1 {
			t.Errorf("it has %d runs", len(runs))
		}
		ran = 10_000
	}
	s.Kill() // both that are left have right clocks, and so it has when it comes back
	c.Until("another leads", func() bool { return c.Leader() != s })
	s.Config.Wall = nil
	s.Restart()
	c.Wait(10 * time.Second)
	if list, metric := c.alarms(c.Leader()); list != "" || metric != "coinop_alarm 0" {
		t.Errorf("with another leader it still says %q, %q", list, metric)
	}
}

// What is remembered of a request for a day is judged by cluster time: a wrong clock of the leader's makes no request old.
func TestAClientsRightClockIsNeverTooOld(t *testing.T) {
	funded(t, 3, 1, func(c *Cluster, pot client.Secret) {
		s := c.Follower()
		s.Stop()
		s.Config.Wall = wrong(30*day, 0)
		s.Start()
		c.hand(s)
		o, _ := c.User.PrepareFrom(pot, Spec("exit", "0"))
		var first, again client.SubmitAnswer
		c.User.must(c.User.API.Send(c.T.Context(), o, &first))
		c.User.must(c.User.API.Send(c.T.Context(), o, &again))
		if first.Job != again.Job {
			t.Errorf("one request became jobs %d and %d", first.Job, again.Job)
		}
		old, err := client.PrepareSubmit(ulid.MustNew(ulid.Timestamp(time.Now().Add(-25*time.Hour)), ulid.DefaultEntropy()).String(), pot.Key("spend"),
			client.SubmitRequest{Job: Spec("exit", "0"), Keys: client.NewSecret().Keys(), Pot: pot.Key("fund")})
		c.User.must(err)
		ctx, cancel := context.WithTimeout(c.T.Context(), time.Minute)
		defer cancel()
		var p *client.Problem
		if err := c.User.API.Send(ctx, old, &again); !errors.As(err, &p) || p.Code != "request_old" {
			t.Errorf("a request of yesterday: %v", err)
		}
	})
}
