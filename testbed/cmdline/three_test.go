//go:build e2e

package cmdline

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// servers are as many as wanted, with one executor, in a folder that is gone afterwards.
func servers(t *testing.T, n int) (context.Context, *cluster.Cluster) {
	t.Helper()
	binary, err := exec.LookPath("coinop")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := cluster.TempDir("cmdline")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(dir, binary)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 90*time.Second)
	t.Cleanup(func() {
		stop()
		if err := errors.Join(c.Stop(), cluster.Clear(dir), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	ok(t, c.Plan(n))
	ok(t, c.StartServers(ctx))
	_, err = c.StartExecutor(ctx, "e1", "--cpus", "4")
	ok(t, err)
	return ctx, c
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// says runs a command that succeeds, and returns what it printed.
func says(t *testing.T, ctx context.Context, h cluster.Home, args ...string) string {
	t.Helper()
	r, err := h.Run(ctx, args...)
	if err != nil || r.Code != 0 {
		t.Fatalf("coinop %s: code %d, %v\n%s%s", strings.Join(args, " "), r.Code, err, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// What one server was told, every server tells: logs, receipts, the queue, the history and the outputs.
func TestAnyServerWillDo(t *testing.T) {
	ctx, c := servers(t, 3)
	h := c.Home("you", c.Addr(), c.TokenFile())
	says(t, ctx, h, "operator", "issue", "1000")
	says(t, ctx, h, "submit", "--wait", "--time", "20s", "--pay", "100", "--output", "o", "--", "sh", "-c", "echo said by the task; echo kept > o")
	want := says(t, ctx, h, "receipt", "1", "--json")
	for i, s := range c.Servers {
		one := c.Home("you", s.HTTP, c.TokenFile())
		if got := says(t, ctx, one, "logs", "1"); got != "said by the task\n" {
			t.Errorf("%s has the log %q", s.Name, got)
		}
		if got := says(t, ctx, one, "receipt", "1", "--json"); got != want {
			t.Errorf("%s has the receipt\n%s, another\n%s", s.Name, got, want)
		}
		dir := filepath.Join(c.Dir, "got"+strconv.Itoa(i))
		says(t, ctx, one, "get", "1", dir)
		if text, err := os.ReadFile(filepath.Join(dir, "o")); err != nil || string(text) != "kept\n" {
			t.Errorf("%s has the output %q, %v", s.Name, text, err)
		}
		for _, verb := range []string{"history", "queue --all", "show 1", "nodes", "pools", "price default", "events 1"} {
			if got := says(t, ctx, one, strings.Fields(verb)...); got == "" {
				t.Errorf("%s has no answer to %s", s.Name, verb)
			}
		}
	}
}

// A server that is removed is out for good, and the others go on; a snapshot and the words bring all of it back.
func TestServersGoAndAClusterComesBack(t *testing.T) {
	ctx, c := servers(t, 3)
	h := c.Home("you", c.Addr(), c.TokenFile())
	says(t, ctx, h, "operator", "issue", "1000")
	says(t, ctx, h, "run", "-q", "--name", "early", "--time", "20s", "--pay", "100", "--", "true")

	leader, list, err := c.Leader(ctx)
	ok(t, err)
	var gone *cluster.Server
	id := ""
	for _, s := range c.Servers {
		if s == leader {
			continue
		}
		gone = s
		for _, member := range list.Servers {
			if strings.Contains(member.HTTP, s.HTTP) {
				id = member.ID
			}
		}
	}
	if id == "" {
		t.Fatalf("no member at %s: %+v", gone.HTTP, list)
	}
	ok(t, gone.Stop(30*time.Second))
	says(t, ctx, h, "operator", "servers", "remove", id)
	ok(t, cluster.Until(ctx, patience, "two servers are left", func() (bool, error) {
		var left client.ServerList
		err := h.JSON(ctx, &left, "operator", "servers")
		return len(left.Servers) == 2, err
	}))
	says(t, ctx, h, "run", "-q", "--name", "later", "--time", "20s", "--pay", "100", "--", "true")

	snapshot, words := filepath.Join(c.Dir, "saved"), filepath.Join(c.Dir, "words")
	says(t, ctx, h, "operator", "snapshot", "save", snapshot)
	exported := says(t, ctx, h, "operator", "secret", "export", "--dir", filepath.Join(c.Dir, leader.Name))
	ok(t, os.WriteFile(words, []byte(exported), 0o600))
	receipt := says(t, ctx, h, "receipt", "2", "--json")
	ok(t, c.Stop())

	http := leader.HTTP // where wallets look for it
	port, err := cluster.FreeAddr()
	ok(t, err)
	said := newWritten()
	server, err := h.Start(ctx, said, os.Stderr, "operator", "snapshot", "restore", snapshot, "--words", "@"+words,
		"--dir", "back", "--http", http, "--cluster", port) // it serves at once
	ok(t, err)
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		_, _ = cluster.Wait(server)
	})
	again := c.Home("you", c.Addr(), "")
	said.await(t, "ready http://"+http)
	if got := says(t, ctx, again, "receipt", "2", "--json"); got != receipt {
		t.Errorf("the receipt was\n%s, and is\n%s", receipt, got)
	}
	var queue client.JobList
	ok(t, again.JSON(ctx, &queue, "queue", "--all"))
	if len(queue.Jobs) != 2 {
		t.Errorf("the queue is %+v", queue.Jobs)
	}
	// Its coins may have moved since, so they are refused until an operator says that they have not.
	token := filepath.Join(c.Dir, "token")
	ok(t, os.WriteFile(token, []byte(says(t, ctx, again, "wallet", "send", "10")), 0o600))
	friend := c.Home("friend", http, "")
	if r, err := friend.Run(ctx, "wallet", "receive", "@"+token); err != nil || r.Code == 0 {
		t.Errorf("a coin of a stopped keyset is good: %+v, %v", r, err)
	}
	says(t, ctx, c.Home("operator-home", http, filepath.Join(c.Dir, "back", "operator.token")), "operator", "snapshot", "reconcile")
	says(t, ctx, friend, "wallet", "receive", "@"+token)
}
