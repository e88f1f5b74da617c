//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/testbed/cluster"
	"github.com/coinop/coinop/testbed/nvml"
)

// gpuMachine makes a machine of eight GPUs and the flags by which an executor finds them.
func gpuMachine(t *testing.T, c *cluster.Cluster, name string) (*nvml.Machine, []string) {
	t.Helper()
	dir := filepath.Join(c.Dir, "gpus-"+name)
	must(t, os.Mkdir(dir, 0o755))
	machine, err := nvml.New(dir)
	must(t, err)
	if os.Geteuid() == 0 {
		must(t, machine.Nodes())
	}
	return machine, []string{"--gpu-library", machine.Library(), "--gpu-root", machine.Root()}
}

// withGPUs is a server, a user with money and machines with GPUs.
func withGPUs(t *testing.T, machines map[string][]string) (context.Context, *cluster.Cluster, cluster.Home, map[string]*nvml.Machine) {
	t.Helper()
	return serversWithGPUs(t, 1, machines)
}

func serversWithGPUs(t *testing.T, servers int, machines map[string][]string) (context.Context, *cluster.Cluster, cluster.Home, map[string]*nvml.Machine) {
	t.Helper()
	ctx, c := newCluster(t)
	must(t, c.Plan(servers))
	must(t, c.StartServers(ctx))
	gpus := map[string]*nvml.Machine{}
	names := make([]string, 0, len(machines))
	for name := range machines {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		machine, flags := gpuMachine(t, c, name)
		_, err := c.StartExecutor(ctx, name, append(flags, machines[name]...)...)
		must(t, err)
		gpus[name] = machine
	}
	o := c.Operator()
	if r, err := o.Run(ctx, "operator", "issue", "100000"); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	return ctx, c, o, gpus
}

func gpuNode(t *testing.T, ctx context.Context, h cluster.Home, name string) client.Node {
	t.Helper()
	var list client.NodeList
	must(t, h.JSON(ctx, &list, "nodes"))
	i := slices.IndexFunc(list.Nodes, func(n client.Node) bool { return n.Node == name })
	if i < 0 {
		t.Fatalf("there is no node %s", name)
	}
	return list.Nodes[i]
}

// A job in a container gets the node and the variable of its own GPU, and its receipt tells the energy.
func TestAJobGetsAGPU(t *testing.T) {
	containertest.Need(t)
	if err := container.Installed(); err != nil {
		t.Skip(err)
	}
	ctx, _, h, gpus := withGPUs(t, map[string][]string{"n1": {"--local-images"}})
	root := t.TempDir()
	containertest.MakeRoot(t, root)
	repository, _ := push(t, root, v1.Config{Env: []string{"PATH=/bin"}})
	must(t, cluster.Until(ctx, time.Minute, "the machine offers its GPUs and containers", func() (bool, error) {
		n := gpuNode(t, ctx, h, "n1")
		return len(n.Cards) > 0 && slices.Contains(n.Drivers, "container"), nil
	}))
	if r, err := h.Run(ctx, "operator", "pool", "set", "default", "--drivers", "process,container",
		"--weight", "gpu=8000", "--weight", "gpu/a100=20000"); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	n := submit(t, ctx, h, job("--pay", "6000", "--image", repository+":1", "--gpus", "a100:1", "--", "sh", "-c",
		"ls /dev | grep nvidia | tr '\\n' ' '; head -c 3 /dev/nvidia0 | wc -c; echo $CUDA_VISIBLE_DEVICES; sleep 5")...)
	await(t, ctx, h, n, "running")
	must(t, gpus["n1"].Burn(0, 600_000))
	undisturbed(t, ctx, h, n, "nvidia-uvm nvidia0 nvidiactl 3\n"+nvml.UUID(0)+"\n")
	var r client.Receipt
	must(t, h.JSON(ctx, &r, "receipt", strconv.FormatUint(n, 10)))
	gpu := r.Usage.GPU
	if gpu == nil || gpu.EnergyJoules == nil || *gpu.EnergyJoules < 600 || strings.Join(gpu.Devices, ",") != "a100-sxm4-40gb" || gpu.EnergyBasis == "" {
		t.Errorf("its GPU did %+v", gpu)
	}
	i := slices.IndexFunc(r.Lines, func(l client.ReceiptLine) bool { return strings.HasPrefix(l.What, "GPU") })
	if i < 0 || r.Lines[i].AmountMicro < 5*20_000_000-1_000_000 {
		t.Errorf("its receipt's lines are %+v", r.Lines)
	}
	shared := submit(t, ctx, h, job("--pay", "6000", "--gpus", "2", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES | tr , '\\n' | wc -l")...)
	undisturbed(t, ctx, h, shared, "2\n")
	if text, err := h.Run(ctx, "receipt", strconv.FormatUint(n, 10)); err != nil || !strings.Contains(text.Stdout, "a100-sxm4-40gb") {
		t.Errorf("for people the receipt is %s, %v", text.Stdout, err)
	}
}

// Slices are cut when they are asked for, told as what they are, and destroyed; then the GPU is whole again.
func TestSlicesAreMadeSoldAndDestroyed(t *testing.T) {
	t.Parallel()
	settings := filepath.Join(t.TempDir(), "executor.hcl")
	must(t, os.WriteFile(settings, []byte("mig = true\ncpus = 4\ngpu_power_limit = 300\n"), 0o600))
	ctx, _, h, gpus := withGPUs(t, map[string][]string{"n1": {"--config", settings}})
	instances := func() (sum int) {
		for gpu := range 4 {
			n, err := gpus["n1"].Instances(gpu)
			must(t, err)
			sum += n
		}
		return sum
	}
	var jobs []uint64
	for range 3 {
		jobs = append(jobs, submit(t, ctx, h, job("--pay", "9000", "--gpus", "a100/2g.10gb:1", "--", "sh", "-c", "case $CUDA_VISIBLE_DEVICES in MIG-*) echo slice;; esac; sleep 6")...))
	}
	for _, n := range jobs {
		await(t, ctx, h, n, "running")
	}
	if n := instances(); n != 3 {
		t.Errorf("%d MIG instances for three slices", n)
	}
	limited := 0
	for gpu := range 4 {
		limit, err := gpus["n1"].Get(gpu, "limit")
		must(t, err)
		if persistence, err := gpus["n1"].Get(gpu, "persistence"); err == nil && limit == "300000" && persistence == "1" {
			limited++
		}
	}
	if limited == 0 {
		t.Error("no GPU that has slices is limited to 300 W")
	}
	for _, n := range jobs {
		undisturbed(t, ctx, h, n, "slice\n")
	}
	if n := instances(); n != 0 {
		t.Errorf("%d MIG instances are left", n)
	}
	var r client.Receipt
	must(t, h.JSON(ctx, &r, "receipt", strconv.FormatUint(jobs[0], 10)))
	if r.Usage.GPU == nil || strings.Join(r.Usage.GPU.Devices, ",") != "a100-sxm4-40gb 2g.10gb" {
		t.Errorf("its slice did %+v", r.Usage.GPU)
	}
	whole := submit(t, ctx, h, job("--pay", "9000", "--gpus", "a100:4", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES | tr , '\\n' | wc -l")...)
	undisturbed(t, ctx, h, whole, "4\n")
}

// A GPU that is lost under a task: the task goes elsewhere, uncharged, and the GPU is shown as sick.
func TestALostGPUCostsNothing(t *testing.T) {
	t.Parallel()
	ctx, _, h, gpus := withGPUs(t, map[string][]string{"n1": nil, "n2": nil})
	must(t, cluster.Until(ctx, time.Minute, "both offer GPUs", func() (bool, error) {
		return len(gpuNode(t, ctx, h, "n1").Cards) > 0 && len(gpuNode(t, ctx, h, "n2").Cards) > 0, nil
	}))
	n := submit(t, ctx, h, job("--pay", "9000", "--gpus", "a100:4", "--", "sh", "-c", "sleep 8; echo done on $COINOP_NODE")...)
	await(t, ctx, h, n, "running")
	first := show(t, ctx, h, n).Private.Runs[0].Node
	must(t, gpus[first].Set(2, "lost", 1))
	other := map[string]string{"n1": "n2", "n2": "n1"}[first]
	await(t, ctx, h, n, "done")
	j := show(t, ctx, h, n)
	if j.ExitCode == nil || *j.ExitCode != 0 || len(j.Private.Runs) != 2 {
		t.Fatalf("it ended as %s, %+v", j.Reason, j.Private)
	}
	logs, err := h.Run(ctx, "logs", strconv.FormatUint(n, 10), "--stdout")
	must(t, err)
	if logs.Stdout != "done on "+other+"\n" {
		t.Errorf("it wrote %q", logs.Stdout)
	}
	hit := slices.IndexFunc(j.Private.Runs, func(r client.Run) bool { return r.Node == first })
	if r := j.Private.Runs[hit]; r.OwedMicro != 0 || !strings.Contains(r.Text, "its GPU failed") {
		t.Errorf("its first run was %+v", r)
	}
	must(t, cluster.Until(ctx, time.Minute, "the GPU is shown as sick", func() (bool, error) {
		cards := gpuNode(t, ctx, h, first).Cards
		return slices.ContainsFunc(cards, func(c client.Card) bool { return c.State == "sick" && c.ID == nvml.UUID(2) && c.Reason != "" }), nil
	}))
	text, err := h.Run(ctx, "nodes", "show", first)
	must(t, err)
	if !strings.Contains(text.Stdout, "sick") {
		t.Errorf("for people the node is %s", text.Stdout)
	}
}

// GPUs that somebody else has taken: the run goes back as never started, waits, and costs nothing until there is room.
func TestNoRoomCostsNothing(t *testing.T) {
	t.Parallel()
	ctx, _, h, gpus := withGPUs(t, map[string][]string{"n1": nil})
	must(t, cluster.Until(ctx, time.Minute, "it offers its GPUs", func() (bool, error) { return len(gpuNode(t, ctx, h, "n1").Cards) > 0, nil }))
	for gpu := range 4 {
		must(t, gpus["n1"].Start(gpu, -1, 4_000_000+gpu, 1<<30))
	}
	n := submit(t, ctx, h, job("--pay", "9000", "--gpus", "a100:1", "--", "true")...)
	must(t, cluster.Until(ctx, time.Minute, "a run finds no room", func() (bool, error) {
		j := show(t, ctx, h, n)
		return slices.ContainsFunc(j.Private.Runs, func(r client.Run) bool { return r.State == "ended" && r.Started == nil && r.OwedMicro == 0 }), nil
	}))
	must(t, cluster.Until(ctx, time.Minute, "the machine tells that its GPUs are not to be had", func() (bool, error) {
		return slices.ContainsFunc(gpuNode(t, ctx, h, "n1").Cards, func(c client.Card) bool { return strings.Contains(c.Reason, "process 400000") }), nil
	}))
	if j := show(t, ctx, h, n); j.State != "queued" || j.Private.SpentMicro != 0 || len(j.Private.Runs) > 3 {
		t.Errorf("it is %s, %+v", j.State, j.Private)
	}
	for gpu := range 4 {
		must(t, gpus["n1"].Stop(gpu, 4_000_000+gpu))
	}
	await(t, ctx, h, n, "done")
	if j := show(t, ctx, h, n); j.ExitCode == nil || *j.ExitCode != 0 {
		t.Errorf("it ended as %s", j.Reason)
	}
}

// Agent and provider are killed under a task with a slice: it goes on, keeps its slice, and is told with its energy.
func TestASliceOutlivesAgentAndProvider(t *testing.T) {
	t.Parallel()
	ctx, c, h, gpus := withGPUs(t, map[string][]string{"n1": {"--mig"}})
	n := submit(t, ctx, h, job("--pay", "9000", "--gpus", "a100/3g.20gb:1", "--", "sh", "-c", "sleep 10; echo through")...)
	await(t, ctx, h, n, "running")
	must(t, c.Executors[0].Kill())
	must(t, syscall.Kill(pluginOf(t, filepath.Join(c.Dir, "n1"), "gpu"), syscall.SIGKILL))
	must(t, gpus["n1"].Burn(0, 70_000))
	_, err := c.StartExecutor(ctx, "n1", "--gpu-library", gpus["n1"].Library(), "--gpu-root", gpus["n1"].Root(), "--mig")
	must(t, err)
	undisturbed(t, ctx, h, n, "through\n")
	var r client.Receipt
	must(t, h.JSON(ctx, &r, "receipt", strconv.FormatUint(n, 10)))
	if gpu := r.Usage.GPU; gpu == nil || gpu.EnergyJoules == nil || *gpu.EnergyJoules < 30 || gpu.EnergyBasis != "3/7 of the GPU" {
		t.Errorf("its slice did %+v", gpu)
	}
	for gpu := range 4 {
		if left, err := gpus["n1"].Instances(gpu); err != nil || left > 0 {
			t.Errorf("GPU %d has %d MIG instances, %v", gpu, left, err)
		}
	}
}

// A machine without GPUs says why; who asks for one is told so, and pays nothing.
func TestNoGPUs(t *testing.T) {
	ctx, c := newCluster(t)
	must(t, c.Plan(1))
	must(t, c.StartServers(ctx))
	_, err := c.StartExecutor(ctx, "n1", "--gpu-root", t.TempDir())
	must(t, err)
	h := c.Operator()
	_, err = h.Run(ctx, "operator", "issue", "1000")
	must(t, err)
	text, err := h.Run(ctx, "nodes", "show", "n1")
	must(t, err)
	if !strings.Contains(text.Stdout, "GPUs: NVIDIA's driver is not installed here") {
		t.Errorf("the node is %s", text.Stdout)
	}
	before := balance(t, ctx, h)
	r, err := h.Run(ctx, append([]string{"submit"}, job("--pay", "900", "--time", "40s", "--gpus", "a100:1", "--", "true")...)...)
	must(t, err)
	if r.Code == 0 || !strings.Contains(r.Stderr, "GPU") || balance(t, ctx, h) != before {
		t.Errorf("it was told %d, %s", r.Code, r.Stderr)
	}
}
