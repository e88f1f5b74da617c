package inproc

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/drivers/fake"
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

// sayAll sends a text in pieces, and its end. Whoever has gone hears nothing of it.
func sayAll(ctx context.Context, line *client.ExecConn, text string) {
	for piece := range slices.Chunk([]byte(text), client.ExecFrameMax-1) {
		if line.Send(ctx, client.ExecFrame{Channel: client.ExecStdin, Data: piece}) != nil {
			return
		}
	}
	_ = line.Send(ctx, client.ExecFrame{Channel: client.ExecClose, Data: []byte{client.ExecStdin}})
}

// echo sends a text to a port of a job's task, ends its side, and returns what came back and how it ended.
func (c *Cluster) echo(to *Server, q client.ExecQuery, text string) (back string, ends int, code int, message string, err error) {
	line, err := c.apiVia(to).Exec(c.T.Context(), q)
	if err != nil {
		return "", 0, 0, "", err
	}
	defer line.Drop()
	for begun := false; ; begun = true {
		f, err := line.Receive(c.T.Context())
		if !begun && err == nil && f.Channel != client.ExecEnd {
			go sayAll(c.T.Context(), line, text)
		}
		switch {
		case err != nil:
			return back, ends, 0, "", err
		case f.Channel == client.ExecStdout:
			back += string(f.Data)
		case f.Channel == client.ExecClose && string(f.Data) == string([]byte{client.ExecStdout}):
			ends++
		case f.Channel == client.ExecEnd:
			code, message, err = client.ExecCode(f)
			return back, ends, code, message, err
		}
	}
}

func TestAPortOfAMachineThatHoldsItsPlaceIsReachedThroughAnyServer(t *testing.T) {
	funded(t, 3, 1, func(c *Cluster, pot client.Secret) {
		spec := Spec()
		spec.Hold = true
		j := c.User.Submit(pot, spec)
		q := client.ExecQuery{Job: j.Job, Control: j.Secret.Key("control"), Connect: fake.EchoPort}
		text := strings.Repeat("bytes\x00\xff", 30_000)
		for _, s := range []*Server{c.Leader(), c.Follower()} {
			back, ends, code, _, err := c.echo(s, q, text)
			if err != nil || back != text || ends != 1 || code != 0 {
				t.Fatalf("%d bytes of %d, %d ends, code %d, %v", len(back), len(text), ends, code, err)
			}
		}
		closed := q
		closed.Connect = 8
		if _, _, code, message, err := c.echo(c.Follower(), closed, ""); err != nil || code == 0 || !strings.Contains(message, "port 8: nothing in the task listens on it") {
			t.Errorf("code %d, %q, %v", code, message, err)
		}
		for what, change := range map[string]func(*client.ExecQuery){
			"key_wrong": func(q *client.ExecQuery) { q.Control = j.Secret.Key("view") },
			"invalid":   func(q *client.ExecQuery) { q.Command = []string{"true"} },
		} {
			other := q
			change(&other)
			var problem *client.Problem
			if _, _, _, _, err := c.echo(c.Leader(), other, ""); !errors.As(err, &problem) || problem.Code != what {
				t.Errorf("%s: %v", what, err)
			}
		}
		c.tooManyConnections(q)
	})
}

// tooManyConnections opens as many connections as a job may have at one server, and one more.
func (c *Cluster) tooManyConnections(q client.ExecQuery) {
	var open []*client.ExecConn
	defer func() {
		for _, line := range open {
			line.Drop()
		}
	}()
	for range api.DefaultLimits().ConnectsMax {
		line, err := c.apiVia(c.Leader()).Exec(c.T.Context(), q)
		if err != nil {
			c.T.Fatal(err)
		}
		open = append(open, line)
	}
	var problem *client.Problem
	if _, err := c.apiVia(c.Leader()).Exec(c.T.Context(), q); !errors.As(err, &problem) || problem.Code != "too_many_requests" {
		c.T.Errorf("one more: %v", err)
	}
}
