//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// restarts is three servers and two machines whose tasks count.
type restarts struct {
	c        *cluster.Cluster
	user     cluster.Home
	agents   map[string]*cluster.Process
	counters []counter
}

var machineNames = []string{"e1", "e2"}

func newRestarts(t *testing.T) (context.Context, *restarts) {
	t.Helper()
	ctx, c := newCluster(t)
	must(t, c.Plan(3))
	must(t, c.StartServers(ctx))
	r := &restarts{c: c, user: c.Home("user", c.Addr(), c.TokenFile()), agents: map[string]*cluster.Process{}}
	for _, name := range machineNames {
		r.startAgent(t, ctx, name)
	}
	if said, err := r.user.Run(ctx, "operator", "issue", "1000000"); err != nil || said.Code != 0 {
		t.Fatal(err, said.Stderr)
	}
	for range 2 * len(machineNames) {
		r.counters = append(r.counters, count(t, ctx, c, r.user))
	}
	return ctx, r
}

func (r *restarts) startAgent(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	agent, err := r.c.StartExecutor(ctx, name, "--cpus", "4", "--memory", "4GiB")
	must(t, err)
	r.agents[name] = agent
}

func (r *restarts) plugin(t *testing.T, name string) int {
	t.Helper()
	return pluginOf(t, filepath.Join(r.c.Dir, name), "process")
}

// goOn fails unless all counters are undisturbed, in their first runs, and the cluster takes and runs another job.
func (r *restarts) goOn(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, k := range r.counters {
		k.undisturbed(t, ctx)
		job := show(t, ctx, r.user, k.job)
		if job.State != "running" || job.Private == nil || len(job.Private.Runs) != 1 {
			t.Errorf("job %d: %s, %+v", k.job, job.State, job.Private)
		}
	}
	undisturbed(t, ctx, r.user, submit(t, ctx, r.user, job("--", "echo", "the next one")...), "the next one\n")
}

// away is a task that ends while its agent is away. Its exit is to be reported with its code and its output.
func (r *restarts) away(t *testing.T, ctx context.Context, stop func()) {
	t.Helper()
	enough := filepath.Join(r.c.Dir, "counters", fmt.Sprintf("enough%d", time.Now().UnixNano()))
	n := submit(t, ctx, r.user, job("--", "sh", "-c", `echo waits; until [ -e "$1" ]; do sleep 0.1; done; echo ends; exit 3`, "sh", enough)...)
	await(t, ctx, r.user, n, "running")
	stop()
	must(t, os.WriteFile(enough, nil, 0o644))
	gone(t, ctx, r.c.Dir, enough)
	for _, name := range machineNames {
		if r.agents[name].Ended() {
			r.startAgent(t, ctx, name)
		}
	}
	await(t, ctx, r.user, n, "done")
	ended := show(t, ctx, r.user, n)
	logs, err := r.user.Run(ctx, "logs", fmt.Sprint(n), "--stdout")
	must(t, err)
	if ended.ExitCode == nil || *ended.ExitCode != 3 || len(ended.Private.Runs) != 1 || logs.Stdout != "waits\nends\n" {
		t.Errorf("job %d: code %v, %+v, it wrote %q", n, ended.ExitCode, ended.Private, logs.Stdout)
	}
}

func TestTasksGoOnThroughEveryRestart(t *testing.T) {
	ctx, r := newRestarts(t)
	servers := r.c.Servers
	kill := func(pid int) { must(t, syscall.Kill(pid, syscall.SIGKILL)) }
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"the agents are stopped, and a task ends meanwhile", func() {
			r.away(t, ctx, func() { must(t, r.agents["e1"].Stop(30*time.Second)); must(t, r.agents["e2"].Stop(30*time.Second)) })
		}},
		{"the agents are killed, and a task ends meanwhile", func() {
			r.away(t, ctx, func() { must(t, r.agents["e1"].Kill()); must(t, r.agents["e2"].Kill()) })
		}},
		{"the drivers' plugins are killed", func() { kill(r.plugin(t, "e1")); kill(r.plugin(t, "e2")) }},
		{"an agent is killed with its plugin", func() {
			plugin := r.plugin(t, "e1")
			must(t, r.agents["e1"].Kill())
			kill(plugin)
			r.startAgent(t, ctx, "e1")
		}},
		{"each server is stopped in turn", func() {
			for _, s := range servers {
				must(t, s.Stop(30*time.Second))
				must(t, r.c.Restart(ctx, s))
			}
		}},
		{"all servers are killed at once", func() {
			for _, s := range servers {
				must(t, s.Signal(syscall.SIGKILL))
			}
			for _, s := range servers {
				must(t, s.Kill())
			}
			must(t, r.c.Restart(ctx, servers...))
		}},
		{"all there is is killed at once", func() {
			plugin := r.plugin(t, "e2")
			for _, p := range []*cluster.Process{servers[0].Process, servers[1].Process, servers[2].Process, r.agents["e1"], r.agents["e2"]} {
				must(t, p.Signal(syscall.SIGKILL))
			}
			kill(plugin)
			must(t, r.c.Restart(ctx, servers...))
			r.startAgent(t, ctx, "e1")
			r.startAgent(t, ctx, "e2")
		}},
	} {
		if step.do(); t.Failed() {
			t.Fatalf("failed when %s", step.what)
		}
		r.goOn(t, ctx)
		t.Logf("%s: all go on", step.what)
	}
	for _, k := range r.counters {
		k.end(t, ctx, r.user)
	}
	_, err := r.c.Books(ctx)
	must(t, err)
	must(t, r.c.Balanced(ctx))
}

// A task that died with its shim while nobody looked can't be kept: it runs again elsewhere, and what it had cost is
// nobody's.
func TestWhatCannotBeKeptRunsAgainUncharged(t *testing.T) {
	ctx, r := newRestarts(t)
	lost := r.counters[0]
	node := show(t, ctx, r.user, lost.job).Private.Runs[0].Node
	must(t, r.agents[node].Kill())
	pids, err := cluster.Processes(r.c.Dir)
	must(t, err)
	for _, pid := range pids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.HasSuffix(string(line), "\x00"+lost.file+"\x00") { // the shim has its task's command line too
			must(t, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	gone(t, ctx, r.c.Dir, lost.file)
	before := len(lost.read(t))
	r.startAgent(t, ctx, node)
	must(t, cluster.Until(ctx, time.Minute, "the lost task counts again", func() (bool, error) {
		return len(lost.read(t)) > before, nil
	}))
	for _, k := range r.counters[1:] {
		k.undisturbed(t, ctx)
	}
	must(t, cluster.Until(ctx, time.Minute, "something is owed for the second run", func() (bool, error) {
		p := show(t, ctx, r.user, lost.job).Private
		return p != nil && p.SpentMicro > 0, nil
	}))
	if r, err := r.user.Run(ctx, "cancel", fmt.Sprint(lost.job)); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	await(t, ctx, r.user, lost.job, "done")
	runs := show(t, ctx, r.user, lost.job).Private.Runs
	if len(runs) != 2 {
		t.Fatalf("the runs: %+v", runs)
	}
	kept, faulty := runs[0], runs[1] // the newest comes first
	if faulty.Reason != "fault" || faulty.OwedMicro != 0 || faulty.Node == kept.Node || kept.OwedMicro == 0 {
		t.Errorf("the runs: %+v", runs)
	}
	var receipt struct {
		Charged int64 `json:"charged_micro"`
	}
	must(t, r.user.JSON(ctx, &receipt, "receipt", fmt.Sprint(lost.job)))
	if rest := receipt.Charged - kept.OwedMicro; rest < 0 || rest >= 1_000_000 { // what is less than a coin stays
		t.Errorf("%d was charged; the run that was kept owes %d", receipt.Charged, kept.OwedMicro)
	}
	for _, k := range r.counters[1:] {
		k.end(t, ctx, r.user)
	}
	must(t, r.c.Balanced(ctx))
}

// An agent is exchanged for another build, once stopped and once killed, while its tasks count. Its drivers are exchanged with it.
func TestAnAgentIsExchangedForAnotherBuild(t *testing.T) {
	root, err := filepath.Abs("../..")
	must(t, err)
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o755))
	ctx, r := newRestarts(t)
	for i, end := range []func(*cluster.Process) error{
		func(p *cluster.Process) error { return p.Stop(30 * time.Second) }, (*cluster.Process).Kill,
	} {
		version := fmt.Sprintf("v9.9.%d-next", i)
		next := filepath.Join(dir, version)
		must(t, cluster.Build(ctx, root, next, "-ldflags", "-X main.version="+version))
		before := r.plugin(t, "e1")
		must(t, end(r.agents["e1"]))
		r.c.Binary = next
		r.startAgent(t, ctx, "e1")
		must(t, cluster.Until(ctx, time.Minute, "the node is of the next build, its driver too", func() (bool, error) {
			var n client.Node
			if err := r.c.Operator().JSON(ctx, &n, "nodes", "show", "e1"); err != nil || n.Version != version {
				return false, err
			}
			for _, d := range n.DriverFacts {
				if d.Driver == "process" && d.State == "up" && d.Version == version {
					return true, nil
				}
			}
			return false, nil
		}))
		after := r.plugin(t, "e1")
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", after)); err != nil || exe != next || after == before {
			t.Errorf("the driver was process %d and is %d, %s, %v", before, after, exe, err)
		}
		r.goOn(t, ctx)
	}
	for _, k := range r.counters {
		k.end(t, ctx, r.user)
	}
	must(t, r.c.Balanced(ctx))
}
