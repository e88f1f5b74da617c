//go:build e2e

package e2e

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
	"github.com/coinop/coinop/testbed/nvml"
)

// What a task uses of its GPU is shown while it runs, by every server, and grows; a receipt keeps the sum.
func TestWhatATaskUsesOfItsGPUIsShownWhileItRuns(t *testing.T) {
	ctx, c, h, gpus := serversWithGPUs(t, 3, map[string][]string{"n1": nil})
	must(t, cluster.Until(ctx, time.Minute, "it offers its GPUs", func() (bool, error) { return len(gpuNode(t, ctx, h, "n1").Cards) > 0, nil }))
	n := submit(t, ctx, h, job("--pay", "9000", "--time", "5m", "--gpus", "a100:1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 290")...)
	await(t, ctx, h, n, "running")
	var id string
	must(t, cluster.Until(ctx, time.Minute, "it says which GPU it has", func() (bool, error) {
		r, err := h.Run(ctx, "logs", strconv.FormatUint(n, 10), "--stdout")
		id = strings.TrimSpace(r.Stdout)
		return id != "", err
	}))
	card := slices.IndexFunc([]int{0, 1, 2, 3}, func(i int) bool { return nvml.UUID(i) == id })
	if card < 0 {
		t.Fatalf("it has %q", id)
	}
	must(t, gpus["n1"].Start(card, -1, 4_000_000, 3<<30))
	must(t, gpus["n1"].Use(card, 80))
	used := func(h cluster.Home) *client.GPUUsage { return show(t, ctx, h, n).Private.Runs[0].GPU }
	var joules float64
	for _, s := range c.Servers {
		at := h
		at.Addr = "http://" + s.HTTP
		must(t, cluster.Until(ctx, time.Minute, "server "+s.Name+" shows what is used", func() (bool, error) {
			u := used(at)
			return u != nil && u.Processes == 1 && u.MemoryBytes == 3<<30 && u.Utilisation != nil && *u.Utilisation > 0 && u.EnergyJoules != nil && *u.EnergyJoules > 0, nil
		}))
		joules = *used(at).EnergyJoules
	}
	must(t, cluster.Until(ctx, time.Minute, "the energy grows", func() (bool, error) { return *used(h).EnergyJoules > joules+100, nil }))
	text, err := h.Run(ctx, "show", strconv.FormatUint(n, 10))
	must(t, err)
	if !strings.Contains(text.Stdout, "is on a100-sxm4-40gb; busy ") || !strings.Contains(text.Stdout, "now 3 GiB of their memory, 1 process\n") {
		t.Errorf("for people it is\n%s", text.Stdout)
	}
	must(t, gpus["n1"].Stop(card, 4_000_000))
	joules = *used(h).EnergyJoules
	if r, err := h.Run(ctx, "cancel", strconv.FormatUint(n, 10)); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	await(t, ctx, h, n, "done")
	var r client.Receipt
	must(t, h.JSON(ctx, &r, "receipt", strconv.FormatUint(n, 10)))
	if u := r.Usage.GPU; u == nil || u.EnergyJoules == nil || *u.EnergyJoules < joules || u.ProcessesPeak != 1 || u.MemoryPeakBytes != 3<<30 || u.Utilisation == nil {
		t.Errorf("its receipt says %+v, the last word was %g J", u, joules)
	}
	if u := used(h); u == nil || u.Processes != 0 || u.EnergyJoules == nil || *u.EnergyJoules < joules {
		t.Errorf("its run has used %+v", u)
	}
}

// A provider that hangs: nothing is placed on its GPUs, the task that has one goes on, and when the process was replaced all is as it was.
func TestAHangingProviderIsReplacedUnderItsTasks(t *testing.T) {
	ctx, c, h, _ := withGPUs(t, map[string][]string{"n1": nil})
	must(t, cluster.Until(ctx, time.Minute, "it offers its GPUs", func() (bool, error) { return len(gpuNode(t, ctx, h, "n1").Cards) > 0, nil }))
	running := submit(t, ctx, h, job("--pay", "9000", "--gpus", "a100:1", "--", "sh", "-c", "i=0; while [ $i -lt 90 ]; do sleep 1; i=$((i+1)); done; echo through")...)
	await(t, ctx, h, running, "running")
	before := pluginOf(t, filepath.Join(c.Dir, "n1"), "gpu")
	must(t, syscall.Kill(before, syscall.SIGSTOP))
	must(t, cluster.Until(ctx, time.Minute, "its GPUs are not for sale", func() (bool, error) {
		cards := gpuNode(t, ctx, h, "n1").Cards
		return len(cards) == 8 && !slices.ContainsFunc(cards, func(c client.Card) bool { return c.State != "sick" || !strings.Contains(c.Reason, "does not answer") }), nil
	}))
	r, err := h.Run(ctx, append([]string{"submit"}, job("--pay", "9000", "--gpus", "a100:1", "--", "true")...)...)
	must(t, err)
	if r.Code == 0 {
		t.Errorf("a job is taken that no machine can run: %s", r.Stdout)
	}
	must(t, cluster.Until(ctx, time.Minute, "they are again, by another process", func() (bool, error) {
		n := gpuNode(t, ctx, h, "n1")
		return n.GPUs == 8 && n.GPUsUsed == 1, nil
	}))
	if now := pluginOf(t, filepath.Join(c.Dir, "n1"), "gpu"); now == before {
		t.Error("the process that hung goes on")
	}
	after := submit(t, ctx, h, job("--pay", "9000", "--gpus", "a100:3", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES | tr , '\\n' | wc -l")...)
	undisturbed(t, ctx, h, after, "3\n")
	must(t, cluster.Until(ctx, 2*time.Minute, "the task ends", func() (bool, error) { return show(t, ctx, h, running).State == "done", nil }))
	undisturbed(t, ctx, h, running, "through\n")
	var receipt client.Receipt
	must(t, h.JSON(ctx, &receipt, "receipt", strconv.FormatUint(running, 10)))
	if u := receipt.Usage.GPU; u == nil || u.EnergyJoules == nil || *u.EnergyJoules < 85*50 { // it idles at 50 W
		t.Errorf("its GPU did %+v", u)
	}
}
