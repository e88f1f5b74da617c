//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// A machine whose pot is dry comes to lie on disk, and its place is sold to somebody else. Another wallet brings money: when
// there is room it goes on in a new QEMU process, counts on where it was, and its keep is a line of its own.
func TestAMachineIsSuspendedWhenItsPotIsDryAndCountsOn(t *testing.T) {
	w := machinesForCoins(t, 1)
	ctx, h := w.ctx, w.user
	n := w.dry(t)
	number := strconv.FormatUint(n, 10)
	run := awaitRun(t, ctx, h, n, "suspended")
	before := counted(t, ctx, h, number)
	if node := taken(t, ctx, h); node.CPUUsed != 0 || node.MemoryUsed != 0 || node.DiskUsed < 256<<20 {
		t.Errorf("a suspended machine takes %+v", node)
	}
	undisturbed(t, ctx, h, submit(t, ctx, h, job("--cpus", "1", "--", "echo", "in its place")...), "in its place\n")
	if now := counted(t, ctx, h, number); now != before {
		t.Errorf("on disk it counted from %d to %d", before, now)
	}

	holder := submit(t, ctx, h, job("--cpus", "1", "--", "sleep", "600")...)
	await(t, ctx, h, holder, "running")
	runs(t, ctx, w.friend, "fund", number, "600")
	if again := awaitRun(t, ctx, h, n, "suspended"); again.Run != run.Run {
		t.Errorf("it was run %d and is run %d", run.Run, again.Run)
	}
	runs(t, ctx, h, "cancel", strconv.FormatUint(holder, 10))
	awaitRun(t, ctx, h, n, "running")
	must(t, cluster.Until(ctx, 2*time.Minute, "it counts on", func() (bool, error) { return counted(t, ctx, h, number) > before, nil }))
	must(t, cluster.Until(ctx, 2*time.Minute, "it counts to its end", func() (bool, error) { return counted(t, ctx, h, number) == 60, nil }))

	countedToTheEnd(t, ctx, h, n)
}

// What a machine was goes on on another machine, by what the servers have of it, when its own gives up what it has.
func TestASuspendedMachineGoesOnElsewhere(t *testing.T) {
	w := machinesForCoins(t, 2)
	ctx, h := w.ctx, w.user
	n := w.dry(t)
	number := strconv.FormatUint(n, 10)
	run := awaitRun(t, ctx, h, n, "suspended")
	must(t, cluster.Until(ctx, 2*time.Minute, "the servers have the machine", func() (bool, error) {
		return strings.Contains(runs(t, ctx, h, "events", number).Stdout, "stored"), nil
	}))
	runs(t, ctx, h, "drain", run.Node, "--deadline", "1s", "--token", w.operator)
	must(t, cluster.Until(ctx, time.Minute, "its machine is empty", func() (bool, error) {
		var list client.NodeList
		err := h.JSON(ctx, &list, "nodes")
		return slices.ContainsFunc(list.Nodes, func(one client.Node) bool { return one.Node == run.Node && one.Runs == 0 }), err
	}))
	if again := awaitRun(t, ctx, h, n, "suspended"); again.Run != run.Run || again.Node != "" {
		t.Errorf("it was run %+v and is run %+v", run, again)
	}
	runs(t, ctx, w.friend, "fund", number, "600")
	countedToTheEnd(t, ctx, h, n)
	p := show(t, ctx, h, n).Private
	if len(p.Runs) != 2 || p.Runs[1].Reason != "moved" || p.Runs[1].Node != run.Node || p.Runs[0].Node == run.Node {
		t.Errorf("its runs were %+v", p.Runs)
	}
}

// moneyed is a cluster of executors of one CPU that run virtual machines, its user, and a friend with money of its own.
type moneyed struct {
	ctx          context.Context
	user, friend cluster.Home
	operator     string // its token
	image        string
}

func machinesForCoins(t *testing.T, executors int) moneyed {
	t.Helper()
	ctx, c, h, repository, _ := machines(t, v1.Config{Env: []string{"PATH=/bin"}}, executors, "1")
	w := moneyed{
		ctx: ctx, user: h, friend: c.Home("friend", h.Addr, ""), image: repository + ":1",
		operator: "@" + filepath.Join(c.Dir, "dev", "server", "operator.token"),
	}
	purse := filepath.Join(t.TempDir(), "coins")
	must(t, os.WriteFile(purse, []byte(runs(t, ctx, h, "wallet", "send", "1000").Stdout), 0o600))
	runs(t, ctx, w.friend, "wallet", "receive", "@"+purse)
	runs(t, ctx, h, "operator", "pool", "set", "default", "--pause-grace", "5m", "--weight", "suspended=200", "--token", w.operator)
	return w
}

// dry submits a machine that counts to 60 and has money for some seconds.
func (w moneyed) dry(t *testing.T) uint64 {
	t.Helper()
	// A second costs one credit and a little, five minutes of reserve about 320.
	return submit(t, w.ctx, w.user, "--mode", "stream", "--bid", "1", "--pay", "340", "--cpus", "1", "--memory", "256MiB", "--vm", w.image,
		"--", "sh", "-c", "n=0; while [ $n -lt 60 ]; do n=$((n+1)); echo $n; sleep 1; done")
}

// countedToTheEnd holds that nothing of what the machine counted is missing or doubled, and that its keep was billed.
func countedToTheEnd(t *testing.T, ctx context.Context, h cluster.Home, n uint64) {
	t.Helper()
	var all strings.Builder
	for i := range 60 {
		fmt.Fprintln(&all, i+1)
	}
	must(t, cluster.Until(ctx, 3*time.Minute, "it has counted to the end", func() (bool, error) {
		return show(t, ctx, h, n).State == "done", nil
	}))
	if job := show(t, ctx, h, n); job.Reason != "exited" || *job.ExitCode != 0 {
		t.Errorf("it ended as %s with code %v", job.Reason, job.ExitCode)
	}
	if got := runs(t, ctx, h, "logs", strconv.FormatUint(n, 10), "--stdout").Stdout; got != all.String() {
		t.Errorf("it printed\n%s", got)
	}
	receipt := runs(t, ctx, h, "receipt", strconv.FormatUint(n, 10)).Stdout
	if !strings.Contains(receipt, "kept while suspended") {
		t.Errorf("its receipt is\n%s", receipt)
	}
}

// awaitRun waits until a job's only run is in a state.
func awaitRun(t *testing.T, ctx context.Context, h cluster.Home, n uint64, state string) (run client.Run) {
	t.Helper()
	must(t, cluster.Until(ctx, 2*time.Minute, fmt.Sprintf("the run of job %d is %s", n, state), func() (bool, error) {
		p := show(t, ctx, h, n).Private
		if p == nil || len(p.Runs) != 1 {
			return false, nil
		}
		run = p.Runs[0]
		return run.State == state, nil
	}))
	return run
}

// counted is the last number in a job's output.
func counted(t *testing.T, ctx context.Context, h cluster.Home, job string) int {
	t.Helper()
	lines := strings.Fields(runs(t, ctx, h, "logs", job, "--stdout").Stdout)
	if len(lines) == 0 {
		return 0
	}
	n, err := strconv.Atoi(lines[len(lines)-1])
	must(t, err)
	return n
}

// taken is what the only machine has given to runs.
func taken(t *testing.T, ctx context.Context, h cluster.Home) client.Node {
	t.Helper()
	var list client.NodeList
	must(t, h.JSON(ctx, &list, "nodes"))
	if len(list.Nodes) != 1 {
		t.Fatalf("nodes: %+v", list.Nodes)
	}
	return list.Nodes[0]
}
