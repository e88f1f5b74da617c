//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/testbed/cluster"
)

// A task without an image has a shell too: as its user, in its work folder and under its limits. Of one that is open when the
// agent or its plugin dies nothing is left, the task goes on, and there is another shell.
func TestAShellInATaskWithoutAnImage(t *testing.T) {
	ctx, c := newCluster(t)
	must(t, c.Plan(1))
	must(t, c.StartServers(ctx))
	start := func() interface {
		Kill() error
		Stop(time.Duration) error
	} {
		agent, err := c.StartExecutor(ctx, "e1", "--cpus", "4", "--memory", "4GiB")
		must(t, err)
		return agent
	}
	agent := start()
	user := c.Home("user", c.Addr(), c.TokenFile())
	runs(t, ctx, user, "operator", "issue", "100000")
	n := submit(t, ctx, user, "--cpus", "1", "--memory", "64MiB", "--time", "1h", "--pay", "8000", "--", "sh", "-c",
		"id -u >who; ulimit -n >files; echo ready; exec sleep 3000")
	await(t, ctx, user, n, "running")
	job := fmt.Sprint(n)
	if got := runs(t, ctx, user, "shell", job, "--", "sh", "-c", `[ "$(id -u)" = "$(cat who)" ] && [ "$(ulimit -n)" = "$(cat files)" ] && [ "$COINOP_JOB" = `+job+` ] && echo its own`); got.Stdout != "its own\n" {
		t.Errorf("the command said %+v", got)
	}
	if r, err := user.Run(ctx, "shell", job, "--", "sh", "-c", "head -c 300M /dev/zero | tail -c 300M >/dev/null"); err != nil || r.Code == 0 {
		t.Errorf("300 MiB in a task of 64 MiB ended as %+v, %v", r, err)
	}
	open := func(mark string) *desk {
		d := sitDown(t, ctx, user, "shell", job)
		d.types("echo st''arted; tty\r")
		d.sees(`started\r\n/dev/pts/\d+\r\n`)
		must(t, unix.IoctlSetWinsize(int(d.keys.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 41, Col: 133}))
		must(t, syscall.Kill(d.cmd.Process.Pid, syscall.SIGWINCH))
		d.types(`until [ "$(stty size)" = "41 133" ]; do sleep 0.1; done; echo res''ized` + "\r")
		d.sees(`resized\r\n`)
		d.types("sh -c 'echo wa''its; sleep 2000' " + mark + "\r")
		d.sees(`waits\r\n`)
		return d
	}
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"it is left", func() {}},
		{"the agent is killed", func() { must(t, agent.Kill()); agent = start() }},
		{"the plugin is killed", func() { must(t, syscall.Kill(pluginOf(t, filepath.Join(c.Dir, "e1"), "process"), syscall.SIGKILL)) }},
		{"the agent is stopped", func() { must(t, agent.Stop(30*time.Second)); agent = start() }},
	} {
		mark := fmt.Sprintf("%s/mark-%d", c.Dir, time.Now().UnixNano())
		d := open(mark)
		if step.what == "it is left" {
			must(t, d.cmd.Process.Kill())
		}
		step.do()
		gone(t, ctx, c.Dir, mark)
		must(t, cluster.Until(ctx, time.Minute, "there is a shell again", func() (bool, error) {
			r, err := user.Run(ctx, "shell", job, "--", "cat", "who")
			return r.Code == 0, err
		}))
		if job := show(t, ctx, user, n); job.State != "running" || len(job.Private.Runs) != 1 {
			t.Errorf("%s: the task does not go on: %s, %+v", step.what, job.State, job.Private)
		}
		t.Logf("%s: nothing is left of its shell", step.what)
	}
	d := open(c.Dir + "/mark-last")
	runs(t, ctx, user, "cancel", job)
	await(t, ctx, user, n, "done")
	gone(t, ctx, c.Dir, "mark-last")
	d.sees(`ended|done`)
	must(t, c.Balanced(ctx))
}
