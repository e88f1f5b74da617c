//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	ctx, c, h, repository, _ := machines(t, v1.Config{Env: []string{"PATH=/bin"}}, "1")
	friend := c.Home("friend", h.Addr, "")
	purse := filepath.Join(t.TempDir(), "coins")
	must(t, os.WriteFile(purse, []byte(runs(t, ctx, h, "wallet", "send", "1000").Stdout), 0o600))
	runs(t, ctx, friend, "wallet", "receive", "@"+purse)
	runs(t, ctx, h, "operator", "pool", "set", "default", "--pause-grace", "5m", "--weight", "suspended=200",
		"--token", "@"+filepath.Join(c.Dir, "dev", "server", "operator.token"))

	// A second costs one credit and a little, five minutes of reserve about 320: there is money for some seconds of running.
	n := submit(t, ctx, h, "--mode", "stream", "--bid", "1", "--pay", "340", "--cpus", "1", "--memory", "256MiB", "--vm", repository+":1",
		"--", "sh", "-c", "n=0; while [ $n -lt 60 ]; do n=$((n+1)); echo $n; sleep 1; done")
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
	runs(t, ctx, friend, "fund", number, "600")
	if again := awaitRun(t, ctx, h, n, "suspended"); again.Run != run.Run {
		t.Errorf("it was run %d and is run %d", run.Run, again.Run)
	}
	runs(t, ctx, h, "cancel", strconv.FormatUint(holder, 10))
	awaitRun(t, ctx, h, n, "running")
	must(t, cluster.Until(ctx, 2*time.Minute, "it counts on", func() (bool, error) { return counted(t, ctx, h, number) > before, nil }))
	must(t, cluster.Until(ctx, 2*time.Minute, "it counts to its end", func() (bool, error) { return counted(t, ctx, h, number) == 60, nil }))

	var all strings.Builder
	for i := range 60 {
		fmt.Fprintln(&all, i+1)
	}
	undisturbed(t, ctx, h, n, all.String())
	receipt := runs(t, ctx, h, "receipt", number).Stdout
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
