//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// What DESIGN.md section 8.2 says.
const (
	lease  = 60 * time.Second
	margin = 15 * time.Second
	beat   = 10 * time.Second // between two reports
)

// field is a cluster whose servers and machines are hosts of a net, with one stamping job for each machine of a name.
type field struct {
	*cluster.Cluster
	t      *testing.T
	ctx    context.Context
	net    *cluster.Net
	user   cluster.Home
	stamps stamps
	agents map[string]*cluster.Process
	jobs   map[string]uint64
}

// newField starts three servers.
func newField(t *testing.T, name string) *field {
	t.Helper()
	if err := cluster.CanNet(); err != nil {
		t.Skip(err)
	}
	net, err := cluster.NewNet(fmt.Sprintf("coinop-%s-%d", name, os.Getpid()))
	must(t, err)
	t.Cleanup(func() {
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, c := newClusterFor(t, 8*time.Minute)
	must(t, c.PlanOn(net, 3))
	must(t, c.StartServers(ctx))
	f := &field{c, t, ctx, net, c.Home("user", c.Addr(), c.TokenFile()), newStamps(t), map[string]*cluster.Process{}, map[string]uint64{}}
	if r, err := f.user.Run(ctx, "operator", "issue", "100000"); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	return f
}

// machine starts one that has room for one job.
func (f *field) machine(name string, cpus int) {
	f.t.Helper()
	must(f.t, f.net.Add(name))
	f.start(name, cpus)
}

func (f *field) start(name string, cpus int) {
	f.t.Helper()
	var err error
	f.agents[name], err = f.StartExecutor(f.ctx, name, "--cpus", fmt.Sprint(cpus), "--memory", "1GiB")
	must(f.t, err)
}

// busy starts a machine and a job on it: there is no room on others.
func (f *field) busy(name string) {
	f.t.Helper()
	f.machine(name, 1)
	args := append([]string{"--cpus", "1", "--memory", "64MiB", "--time", "20m", "--pay", "3000", "--"}, f.stamps.command()...)
	f.jobs[name] = submit(f.t, f.ctx, f.user, args...)
	await(f.t, f.ctx, f.user, f.jobs[name], "running")
	f.until(name+" works", 20*time.Second, func() bool { return len(f.runs(name)) == 1 })
}

func (f *field) until(what string, patience time.Duration, is func() bool) {
	f.t.Helper()
	must(f.t, cluster.Until(f.ctx, patience, what, func() (bool, error) { return is(), nil }))
}

// runs are the stamps of a machine's job.
func (f *field) runs(name string) [][]stamp {
	f.t.Helper()
	runs, err := f.stamps.of(f.jobs[name])
	must(f.t, err)
	return runs
}

// rests says whether the newest run of a machine's job is silent.
func (f *field) rests(name string) bool { return uptime(f.t)-last(f.runs(name)) > 2*restsAfter }

func last(runs [][]stamp) time.Duration {
	newest := runs[len(runs)-1]
	return newest[len(newest)-1].at
}

// uptime is the time of the stamps, now.
func uptime(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/uptime")
	must(t, err)
	var up float64
	_, err = fmt.Sscan(string(text), &up)
	must(t, err)
	return time.Duration(up * float64(time.Second))
}

// leads names the leader as one server sees it.
func (f *field) leads(asked *cluster.Server) string {
	var list client.ServerList
	if err := f.Home("operator-home", asked.HTTP, f.TokenFile()).JSON(f.ctx, &list, "operator", "servers"); err != nil {
		return ""
	}
	for _, said := range list.Servers {
		for _, s := range f.Servers {
			if said.Leader && s.HTTP == strings.TrimPrefix(said.HTTP, "http://") {
				return s.Name
			}
		}
	}
	return ""
}

// others are the servers but one.
func (f *field) others(than string) (list []string) {
	for _, s := range f.Servers {
		if s.Name != than {
			list = append(list, s.Name)
		}
	}
	return list
}

// forgets waits until a machine has nothing left of runs that are not its job's any more.
func (f *field) forgets(name string) {
	f.t.Helper()
	f.until(name+" has removed what it ran", time.Minute, func() bool {
		left, err := os.ReadDir(filepath.Join(f.Dir, name, "runs"))
		must(f.t, err)
		return len(left) == 0
	})
}

// moved checks that a job's first run was over before its second one began, and by how much.
func (f *field) moved(name string, cut time.Duration) {
	f.t.Helper()
	runs := f.runs(name)
	if len(runs) != 2 {
		f.t.Fatalf("%s: %d runs have stamped", name, len(runs))
	}
	silent, again := last(runs[:1]), runs[1][0].at
	f.t.Logf("%s: silent %v after the cut, and started elsewhere %v after that", name, silent-cut, again-silent)
	if silent-cut > lease+restsAfter {
		f.t.Errorf("%s wrote until %v after it was cut off", name, silent-cut)
	}
	if again-silent < margin-stampEvery || again-cut < lease+margin-beat-restsAfter {
		f.t.Errorf("%s: its job started elsewhere %v after the cut, %v after its last word", name, again-cut, again-silent)
	}
}

// settle lets all jobs end, and compares what each was billed with its stamps: of its last run, and only while it wrote.
func (f *field) settle(rested map[string]bool) {
	f.t.Helper()
	must(f.t, f.stamps.end())
	for name, n := range f.jobs {
		await(f.t, f.ctx, f.user, n, "done")
		job := show(f.t, f.ctx, f.user, n)
		if job.ExitCode == nil || *job.ExitCode != 0 {
			f.t.Errorf("%s: %s, code %v", name, job.Reason, job.ExitCode)
		}
		runs := f.runs(name)
		silent, worked := silences(runs[len(runs)-1])
		var r client.Receipt
		must(f.t, f.user.JSON(f.ctx, &r, "receipt", fmt.Sprint(n)))
		billed := time.Duration(r.BilledMs) * time.Millisecond
		f.t.Logf("%s: worked %v, silent %v, billed %v", name, worked, silent, billed)
		if off := billed - worked; off < -restsAfter || off > restsAfter {
			f.t.Errorf("%s worked for %v, was silent %v and is billed %v", name, worked, silent, billed)
		}
		if r.DepositedMicro != r.ChargedMicro+r.RefundedMicro {
			f.t.Errorf("%s: %+v does not add up", name, r)
		}
		if (len(silent) > 0) != rested[name] {
			f.t.Errorf("%s was silent: %v", name, silent)
		}
	}
	all, err := f.stamps.read()
	must(f.t, err)
	if err := twice(all); err != nil {
		f.t.Error(err)
	}
}

// Machines are cut off from the leader, in each way that there is, and one agent is killed for good. Tasks freeze by their
// shims when the lease lapses. Who comes back within the margin goes on, and the pause is free; the others' jobs start
// elsewhere, no sooner than lease and margin allow, and what they left is removed without another word.
func TestMachinesAreCutOffFromTheLeader(t *testing.T) {
	t.Parallel()
	f := newField(t, "m")
	for _, name := range []string{"back", "mute", "deaf", "dead", "calm"} {
		f.busy(name)
	}
	f.machine("spare", 3)
	cut := uptime(t)
	for _, s := range f.Servers { // from whoever leads, now or after an election
		must(t, f.net.Cut("back", s.Name))
		must(t, f.net.Lose("mute", s.Name))
		must(t, f.net.Lose(s.Name, "deaf"))
	}
	must(t, f.agents["dead"].Kill())
	must(t, syscall.Kill(pluginOf(t, filepath.Join(f.Dir, "dead"), "process"), syscall.SIGKILL))

	f.until("the lease of the one that will be back lapses", 90*time.Second, func() bool { return f.rests("back") })
	must(t, f.net.Heal("back"))
	f.until("it goes on", margin, func() bool { return !f.rests("back") })
	lost := []string{"mute", "deaf", "dead"}
	for _, name := range lost {
		f.until(name+"'s job starts elsewhere", 3*time.Minute, func() bool { return len(f.runs(name)) == 2 })
	}
	must(t, f.net.Heal("mute"))
	must(t, f.net.Heal("deaf"))
	f.start("dead", 1)
	for _, name := range lost {
		must(t, f.AwaitNode(f.ctx, name))
		f.forgets(name)
	}
	for _, name := range lost {
		f.moved(name, cut)
	}
	f.settle(map[string]bool{"back": true})
}

// The leader is cut off from the other servers, with one machine on its side. The others elect a leader, and who reaches it
// works on. The machine with the old one freezes and its job moves. Then no server reaches another: everything freezes,
// and everything goes on in place when they do.
func TestTheLeaderIsCutOffFromTheOthers(t *testing.T) {
	t.Parallel()
	f := newField(t, "l")
	for _, name := range []string{"with", "between", "without"} {
		f.busy(name)
	}
	f.machine("spare", 1)
	old := f.leads(f.Servers[0])
	others := f.others(old)
	cut := uptime(t)
	must(t, f.net.Cut(old, append([]string{"without"}, others...)...))
	must(t, f.net.Cut("with", others...))
	majority := f.Servers[slices.IndexFunc(f.Servers, func(s *cluster.Server) bool { return s.Name == others[0] })]
	f.until("the others have a leader", 30*time.Second, func() bool { now := f.leads(majority); return now != "" && now != old })
	f.until("the job with the old leader starts elsewhere", 3*time.Minute, func() bool { return len(f.runs("with")) == 2 })
	must(t, f.net.Heal(old))
	must(t, f.net.Heal("with"))
	must(t, f.AwaitNode(f.ctx, "with"))
	f.forgets("with")
	f.moved("with", cut)
	for _, name := range []string{"between", "without"} {
		if silent, _ := silences(f.runs(name)[0]); len(f.runs(name)) != 1 || len(silent) != 0 {
			t.Errorf("%s has %d runs, silent %v", name, len(f.runs(name)), silent)
		}
	}
	must(t, f.net.Cut("s1", "s2", "s3"))
	must(t, f.net.Cut("s2", "s3"))
	all := []string{"with", "between", "without"}
	for _, name := range all {
		f.until(name+" rests", 90*time.Second, func() bool { return f.rests(name) })
	}
	must(t, f.net.Heal("s1"))
	must(t, f.net.Heal("s2"))
	for _, name := range all {
		f.until(name+" goes on", time.Minute, func() bool { return !f.rests(name) })
	}
	f.settle(map[string]bool{"with": true, "between": true, "without": true})
}
