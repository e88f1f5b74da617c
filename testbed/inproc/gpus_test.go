package inproc

import (
	"slices"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/drivers/gpu"
)

// withGPUs plays a story with two A100 that are joined on one machine, two L40 on another, and a machine without.
func withGPUs(t *testing.T, story func(c *Cluster, pot client.Secret, a100, l40 *GPUs)) {
	t.Helper()
	funded(t, 1, 3, func(c *Cluster, pot client.Secret) {
		a100 := NewGPUs(2, "NVIDIA A100-SXM4-80GB", true, func(d *gpu.Device) {
			d.MIG = gpu.MIG{Capable: true, OnDemand: true, Profiles: []gpu.Profile{
				{Name: "7g.80gb", Slices: 7, MemoryBytes: 79 << 30, Max: 1}, {Name: "1g.10gb", Slices: 1, MemoryBytes: 9 << 30, Max: 7},
			}}
		})
		l40 := NewGPUs(2, "NVIDIA L40", false, nil)
		for i, provider := range []*GPUs{a100, l40} {
			e := c.Executors[i]
			e.Stop()
			e.Config.GPUs = provider
			e.Start()
		}
		_, err := c.User.API.SetPool(c.T.Context(), "default", client.PoolSet{Weights: &client.Weights{
			CPU: 1000, Memory: 250, GPU: 1000, GPUKinds: map[string]int64{"a100": 4000},
		}})
		c.User.must(err)
		c.Until("the cards are told", func() bool {
			n := 0
			for _, node := range c.Leader().View().Nodes() {
				n += int(node.Has.GPUs)
			}
			return n == 4
		})
		story(c, pot, a100, l40)
	})
}

func gpuSpec(kind string, n int64, argv ...string) client.JobSpec {
	spec := Spec(argv...)
	spec.GPUKind, spec.GPUs = kind, n
	return spec
}

// on is where a job ran.
func (c *Cluster) on(j Job) string {
	if h := c.history(j); len(h) > 0 {
		return h[0].Node
	}
	return ""
}

// From the kind that was asked for to the line of the receipt.
func TestAJobOfGPUsRunsWhereTheyAre(t *testing.T) {
	withGPUs(t, func(c *Cluster, pot client.Secret, a100, _ *GPUs) {
		plain := c.User.Submit(pot, Spec("run", "5s", "0")) // keeps off machines whose GPUs are free
		c.User.Await(plain, "running")
		pair := gpuSpec("a100", 2, "run", "10s", "0")
		pair.NVLink = true
		first := c.User.Submit(pot, pair)
		c.User.Await(first, "running")
		cut := c.User.Submit(pot, gpuSpec("a100/1g.10gb", 1, "run", "5s", "0")) // waits: both are sold whole
		cheap := c.User.Submit(pot, gpuSpec("", 1, "run", "5s", "0"))           // any, and none that is dearer
		c.User.Await(cheap, "done")
		c.User.Await(plain, "done")
		if state := c.User.Show(cut).State; state != "queued" {
			t.Errorf("a slice of a card that is sold whole is %s", state)
		}
		c.User.Await(cut, "done")
		for i, j := range []Job{first, cut, cheap, plain} {
			if got, want := c.on(j), []string{"e0", "e0", "e1", "e2"}[i]; got != want {
				t.Errorf("job %d ran on %s, not %s", j.Job, got, want)
			}
		}
		r := c.User.Receipt(first)
		var sum, gpus int64
		for _, l := range r.Lines {
			sum += l.AmountMicro
			if l.What == "GPU a100" {
				gpus = l.AmountMicro
			}
		}
		// A CPU and 16 thousandths of memory beside two GPUs of 4000: 8000 of 9016.
		if sum != r.ChargedMicro || gpus <= r.ChargedMicro*8/10 || gpus >= r.ChargedMicro*9/10 {
			t.Errorf("lines %+v of %d", r.Lines, r.ChargedMicro)
		}
		g := r.Usage.GPU
		if g == nil || !slices.Equal(g.Devices, []string{"a100-sxm4-80gb"}) || g.EnergyJoules == nil || *g.EnergyJoules != 7.25 ||
			g.Utilisation == nil || *g.Utilisation != 0.5 || g.MemoryPeakBytes != 3<<30 {
			t.Errorf("usage %+v", g)
		}
		if u := c.User.Receipt(cut).Usage.GPU; u == nil || !slices.Equal(u.Devices, []string{"a100-sxm4-80gb 1g.10gb"}) {
			t.Errorf("a slice's usage %+v", u)
		}
		if u := c.User.Receipt(plain).Usage.GPU; u != nil {
			t.Errorf("usage of none: %+v", u)
		}
		if n := a100.Asked(); n != 2 {
			t.Errorf("the provider was asked %d times for two jobs", n)
		}
	})
}

// The provider has the last word: the job waits again, uncharged, and nobody asks all the time.
func TestAMachineThatHasNoGPUAfterAll(t *testing.T) {
	withGPUs(t, func(c *Cluster, pot client.Secret, _, l40 *GPUs) {
		l40.Occupy(true)
		j := c.User.Submit(pot, gpuSpec("l40", 2, "run", "5s", "0"))
		c.Until("the provider was asked", func() bool { return l40.Asked() > 0 })
		c.Wait(60 * time.Second)
		if n := l40.Asked(); n < 2 || n > 6 {
			t.Errorf("asked %d times in a minute", n)
		}
		if job := c.User.Show(j); job.State != "queued" || job.Private.SpentMicro != 0 {
			t.Errorf("%s, spent %d", job.State, job.Private.SpentMicro)
		}
		l40.Occupy(false)
		done := c.User.Await(j, "done")
		if *done.ExitCode != 0 || c.on(j) != "e1" {
			t.Errorf("code %d on %s", *done.ExitCode, c.on(j))
		}
		if r := c.User.Receipt(j); r.BilledMs < 4_990 || r.BilledMs > 5_200 {
			t.Errorf("billed %d ms", r.BilledMs)
		}
	})
}

// A GPU fails under a task: our fault, and nobody is placed on it again.
func TestAGPUThatFailsGetsNoMoreWork(t *testing.T) {
	withGPUs(t, func(c *Cluster, pot client.Secret, a100, _ *GPUs) {
		j := c.User.Submit(pot, gpuSpec("a100", 1, "run", "60s", "0"))
		c.User.Await(j, "running")
		c.Wait(5 * time.Second)
		broken := 0
		if inventory, _ := a100.Inventory(c.T.Context()); inventory.Devices[1].State != gpu.StateFree {
			broken = 1
		}
		a100.Sicken(broken, "XID 79: fell off the bus")
		c.Until("the card is shown as sick", func() bool {
			n, err := c.User.API.Node(c.T.Context(), "e0")
			return err == nil && slices.ContainsFunc(n.Cards, func(card client.Card) bool {
				return card.State == "sick" && card.Reason != "" && card.ID != ""
			}) && n.GPUs == 1
		})
		done := c.User.Await(j, "done") // again on the other one
		if *done.ExitCode != 0 {
			t.Errorf("code %d: %s", *done.ExitCode, done.Reason)
		}
		if r := c.User.Receipt(j); r.BilledMs < 59_990 || r.BilledMs > 60_200 {
			t.Errorf("billed %d ms: what the broken one ran is not charged", r.BilledMs)
		}
		if q, err := c.User.API.Quote(c.T.Context(), client.QuoteRequest{Job: gpuSpec("a100", 2, "true")}); err != nil || q.Fits {
			t.Errorf("two of which one is sick: %+v, %v", q, err)
		}
	})
}
