//go:build e2e

package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/testbed/cluster"
)

var small = []string{"--cpus", "1", "--memory", "64MiB", "--time", "2m", "--pay", "400"}

func job(args ...string) []string { return append(append([]string(nil), small...), args...) }

func TestDevFindsItsTasksAfterItsDeath(t *testing.T) {
	ctx, c := newCluster(t)
	addr, err := cluster.FreeAddr()
	must(t, err)
	h := c.Home("user", addr, "")
	must(t, c.StartDev(ctx, h, "--cpus", "2"))
	running := submit(t, ctx, h, job("--", "sh", "-c", "sleep 6; echo found again")...)
	ending := submit(t, ctx, h, job("--", "sh", "-c", "sleep 1; echo ended alone")...)
	await(t, ctx, h, running, "running")
	await(t, ctx, h, ending, "running")
	must(t, c.Dev.Kill())
	gone(t, ctx, c.Dir, "ended alone") // nobody looks while it ends
	must(t, c.StartDev(ctx, h, "--cpus", "2"))
	undisturbed(t, ctx, h, ending, "ended alone\n")
	undisturbed(t, ctx, h, running, "found again\n")
}

func TestCtrlCOfDevLeavesNothingAndChargesNothing(t *testing.T) {
	ctx, c := newCluster(t)
	addr, err := cluster.FreeAddr()
	must(t, err)
	h := c.Home("user", addr, "")
	must(t, c.StartDev(ctx, h, "--cpus", "2"))
	n := submit(t, ctx, h, "--cpus", "2", "--memory", "64MiB", "--time", "1m", "--pay", "500", "--", "sleep", "600")
	await(t, ctx, h, n, "running")
	must(t, cluster.Until(ctx, time.Minute, "there is something that could be charged", func() (bool, error) {
		p := show(t, ctx, h, n).Private
		return p != nil && p.SpentMicro > 1_000_000, nil
	}))
	must(t, c.Dev.Signal(syscall.SIGINT))
	must(t, c.Dev.Stop(30*time.Second))
	if code := c.Dev.ExitCode(); code != 0 {
		t.Errorf("dev exited with %d:\n%s", code, c.Dev.LogTail(20))
	}
	left, err := cluster.Left(c.Dir)
	if err != nil || len(left) != 0 {
		t.Errorf("Ctrl-C left %v, %v", left, err)
	}
	must(t, c.StartDev(ctx, h, "--cpus", "1")) // too small for the job, so that it does not start anew
	if _, err := h.Run(ctx, "cancel", "1"); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, h, n, "done")
	if got := balance(t, ctx, h); got != 1_000_000 {
		t.Errorf("the wallet has %d: something was charged", got)
	}
}
