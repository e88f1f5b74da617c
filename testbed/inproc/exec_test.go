package inproc

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
)

// command runs one in a job's task through a server, gives it something to read, and returns what it wrote.
func (c *Cluster) command(to *Server, q client.ExecQuery, text string) (stdout, stderr string, code int, err error) {
	line, err := c.apiVia(to).Exec(c.T.Context(), q)
	if err != nil {
		return "", "", 0, err
	}
	defer line.Drop()
	begun := false
	for {
		f, err := line.Receive(c.T.Context())
		if err != nil {
			return stdout, stderr, 0, err
		}
		if !begun && f.Channel != client.ExecEnd {
			begun = true
			for _, said := range []client.ExecFrame{{Channel: client.ExecStdin, Data: []byte(text)}, {Channel: client.ExecClose, Data: []byte{client.ExecStdin}}} {
				if err := line.Send(c.T.Context(), said); err != nil {
					return "", "", 0, err
				}
			}
		}
		switch f.Channel {
		case client.ExecStdout:
			stdout += string(f.Data)
		case client.ExecStderr:
			stderr += string(f.Data)
		case client.ExecEnd:
			code, _, err := client.ExecCode(f)
			return stdout, stderr, code, err
		}
	}
}

func TestACommandRunsInATaskThroughAnyServer(t *testing.T) {
	funded(t, 3, 1, func(c *Cluster, pot client.Secret) {
		j := c.User.Submit(pot, Spec("block"))
		q := client.ExecQuery{Job: j.Job, Control: j.Secret.Key("control"), Command: []string{"exit", "3"}}
		text := strings.Repeat("all that it reads ", 3_000)
		for _, s := range []*Server{c.Leader(), c.Follower()} {
			// The job may still wait: then so does the command.
			stdout, stderr, code, err := c.command(s, q, text)
			if err != nil || stdout != text || stderr != "hello" || code != 3 {
				t.Fatalf("%d bytes and %q, code %d, %v", len(stdout), stderr, code, err)
			}
		}
		view := q
		view.Control = j.Secret.Key("view")
		var problem *client.Problem
		if _, _, _, err := c.command(c.Follower(), view, ""); !errors.As(err, &problem) || problem.Code != "key_wrong" {
			t.Errorf("with the view key: %v", err)
		}
		if _, err := c.User.API.Cancel(c.T.Context(), j.Job, q.Control, ""); err != nil {
			t.Fatal(err)
		}
		c.User.Await(j, "done")
		if _, _, _, err := c.command(c.Leader(), q, ""); !errors.As(err, &problem) || problem.Code != "job_ended" {
			t.Errorf("after the end: %v", err)
		}
	})
}

// commandsLeft counts the commands that executors have under way, by what waits for their input.
func commandsLeft() int {
	stacks := make([]byte, 16<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "executor.feedExec(")
}

func TestACommandEndsWithItsClientAndWithItsJob(t *testing.T) {
	funded(t, 3, 1, func(c *Cluster, pot client.Secret) {
		all := Spec("block")
		all.CPUMilli = cpusOf * 1000
		j := c.User.Submit(pot, all)
		c.User.Await(j, "running")
		q := client.ExecQuery{Job: j.Job, Control: j.Secret.Key("control"), Command: []string{"exit", "0"}}
		line, err := c.apiVia(c.Follower()).Exec(c.T.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := line.Receive(c.T.Context()); err != nil {
			t.Fatal(err)
		}
		c.Until("the command is under way", func() bool { return commandsLeft() == 1 })
		line.Drop()
		c.Until("nothing of the command is left", func() bool { return commandsLeft() == 0 })
		other := c.User.Submit(pot, Spec("block")) // has to wait
		waiting, err := c.apiVia(c.Follower()).Exec(c.T.Context(), client.ExecQuery{Job: other.Job, Control: other.Secret.Key("control"), Command: q.Command})
		if err != nil {
			t.Fatal(err)
		}
		defer waiting.Drop()
		c.Wait(time.Minute)
		if _, err := c.User.API.Cancel(c.T.Context(), other.Job, other.Secret.Key("control"), ""); err != nil {
			t.Fatal(err)
		}
		f, err := waiting.Receive(c.T.Context())
		if err != nil || f.Channel != client.ExecEnd || !strings.Contains(string(f.Data), "has ended") {
			t.Errorf("%d %s, %v", f.Channel, f.Data, err)
		}
	})
}
