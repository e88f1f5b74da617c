package api_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// gpuWorld has a machine with GPUs beside the one without, and a price list.
func gpuWorld(t *testing.T, change func(*api.Config)) *world {
	t.Helper()
	w := newWorld(t, change)
	join := machine.TokenHash{20}
	w.does(&machine.Token{Hash: join, Role: machine.RoleJoinExecutor, Until: w.at + 1000})
	slices := []scheduler.Profile{{Name: "7g.80gb", Slices: 7, Memory: 79 << 30, Max: 1}, {Name: "1g.10gb", Slices: 1, Memory: 9 << 30, Max: 7}}
	w.does(&machine.NodeJoin{Token: join, Name: "g1", Pool: "default", Cert: [32]byte{8}, Facts: machine.NodeFacts{
		Has: scheduler.Resources{CPUMilli: 8000, Memory: 64 << 30, GPUs: 6}, Drivers: []string{"process"}, Cards: []scheduler.Card{
			{Count: 4, Model: "a100-sxm4-80gb", Memory: 80 << 30, Island: 1, MIG: true, Profiles: slices},
			{Count: 2, Model: "l40", Memory: 48 << 30, Shares: 3},
			{Count: 1, Model: "l40", Memory: 48 << 30, Sick: true, Reason: "XID 79: fell off the bus", ID: "GPU-5"},
		},
	}})
	_, err := w.client(operatorToken).SetPool(t.Context(), "default", client.PoolSet{Weights: &client.Weights{
		CPU: 1000, Memory: 250, GPU: 1000, GPUKinds: map[string]int64{"a100": 2000, "A100/1g.10gb": 300, "a100/7g.80gb": 1500},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func gpuJob(kind string, n int64) client.JobSpec {
	return client.JobSpec{Command: []string{"true"}, TimeMs: 1000, GPUKind: kind, GPUs: n, MemoryBytes: 1 << 30, CPUMilli: 1000}
}

// What no machine has is refused, nothing is taken, and the user is told what there is.
func TestGPUsThatNobodyHas(t *testing.T) {
	w := gpuWorld(t, nil)
	for name, c := range map[string]struct {
		job    client.JobSpec
		code   string
		saying string
	}{
		"another model":            {gpuJob("h100", 2), "too_big", "no node of pool default has 2 × h100; there are a100-sxm4-80gb (4), l40 (2)"},
		"more than one node has":   {gpuJob("a100", 5), "too_big", "has 5 × a100; there are a100-sxm4-80gb (4), l40 (2)"},
		"another slice":            {gpuJob("3g.40gb", 1), "too_big", "there are a100-sxm4-80gb (4: 7g.80gb 1g.10gb), l40 (2)"},
		"more memory":              {client.JobSpec{Command: []string{"true"}, TimeMs: 1000, GPUs: 1, GPUMemoryBytes: 90 << 30}, "too_big", "1 × GPU with at least 92160 MiB"},
		"NVLink where there is no": {client.JobSpec{Command: []string{"true"}, TimeMs: 1000, GPUs: 2, GPUKind: "l40", NVLink: true}, "too_big", "2 × l40, joined by NVLink"},
		"any, where the rest is dearer": {client.JobSpec{Command: []string{"true"}, TimeMs: 1000, GPUs: 3}, "too_big",
			"dearer ones must be asked for by their name: a100-sxm4-80gb"},
		"shares that are not sold": {gpuJob("l40/share", 1), "gpu_kind", "pool default sells no l40/share"},
		"half a name":              {gpuJob("a100/", 1), "invalid", "names neither a slice"},
		"no number":                {gpuJob("a100", 0), "invalid", "how many is missing"},
		"two slices":               {gpuJob("1g.10gb", 2), "invalid", "had singly"},
		"too many CPUs beside": {func() client.JobSpec { j := gpuJob("a100", 1); j.CPUMilli = 9000; return j }(), "too_big",
			"no node of pool default has 9 CPUs; the most that one has is 8 CPUs"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.purse()
			r := paid(p, p.issue(300), order(client.NewSecret()))
			r.Job = c.job
			_, err := w.c.Submit(t.Context(), newKey(), "", r)
			wantProblem(t, err, 422, c.code)
			var problem *client.Problem
			if errors.As(err, &problem) && !strings.Contains(problem.Detail, c.saying) {
				t.Errorf("it says %q, not %q", problem.Detail, c.saying)
			}
		})
	}
}

// A job's GPUs from its quote to its receipt.
func TestAJobOfGPUsIsQuotedShownAndBilled(t *testing.T) {
	use := &inUse{}
	w, ctx := gpuWorld(t, func(c *api.Config) { c.GPUs = use }), t.Context()
	job := gpuJob("a100", 2)
	job.NVLink, job.TimeMs = true, 10_000
	q, err := w.c.Quote(ctx, client.QuoteRequest{Job: job})
	if err != nil {
		t.Fatal(err)
	}
	parts := []client.WeightPart{{What: "CPU", WeightMilli: 1000}, {What: "memory", WeightMilli: 250}, {What: "GPU a100", WeightMilli: 4000}}
	if q.WeightMilli != 5250 || !slices.Equal(q.Parts, parts) || q.GPUs != "2 × a100, joined by NVLink" || !q.Fits || !q.StartsNow {
		t.Errorf("quote: %+v", q)
	}
	p, secret := w.purse(), client.NewSecret()
	r := paid(p, p.issue(300), order(secret))
	r.Job = job
	answer, err := w.c.Submit(ctx, newKey(), "", r)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := w.c.Job(ctx, answer.Job, "")
	if err != nil || shown.GPUs != 2 || shown.GPUKind != "a100" || !shown.NVLink || shown.WeightMilli != 5250 {
		t.Errorf("%+v, %v", shown, err)
	}
	node, _ := w.m.View().NodeByName("g1")
	w.does(&machine.Place{Decisions: []machine.Placement{{Job: scheduler.JobID(answer.Job), Nodes: []scheduler.NodeID{node.ID}}}})
	g1, err := w.c.Node(ctx, "g1")
	if err != nil {
		t.Fatal(err)
	}
	want := []client.Card{
		{Model: "a100-sxm4-80gb", Count: 4, Free: 2, Whole: 2, MemoryBytes: 80 << 30, Island: 1, Profiles: []string{"7g.80gb", "1g.10gb"}, Slices: 28, State: "ok"},
		{Model: "l40", Count: 2, Free: 2, MemoryBytes: 48 << 30, Shares: 6, State: "ok"},
		{Model: "l40", Count: 1, MemoryBytes: 48 << 30, State: "sick", Reason: "XID 79: fell off the bus", ID: "GPU-5"},
	}
	if !slices.EqualFunc(g1.Cards, want, func(a, b client.Card) bool {
		same := slices.Equal(a.Profiles, b.Profiles)
		a.Profiles, b.Profiles = nil, nil
		return same && a.Model == b.Model && a.Count == b.Count && a.Free == b.Free && a.Whole == b.Whole && a.Slices == b.Slices &&
			a.Shares == b.Shares && a.State == b.State && a.Reason == b.Reason && a.ID == b.ID && a.Island == b.Island
	}) || g1.GPUs != 6 || g1.GPUsUsed != 2 {
		t.Errorf("node: %+v", g1)
	}
	start := w.at
	w.reports(machine.RunReport{Run: w.runOf(answer.Job), Started: &start})
	used := func() *client.GPUUsage {
		shown, err := w.c.Job(ctx, answer.Job, secret.Key("view"))
		if err != nil || len(shown.Private.Runs) != 1 {
			t.Fatalf("%+v, %v", shown.Private, err)
		}
		return shown.Private.Runs[0].GPU
	}
	if u := used(); u != nil {
		t.Errorf("nobody has told yet what it uses: %+v", u)
	}
	use.known = map[scheduler.RunID]api.GPUUse{w.runOf(answer.Job): {Sum: scheduler.GPUUsage{Millijoules: 700, Basis: "the GPU", Utilisation: -1}, MemoryBytes: 4, Processes: 2}}
	if u := used(); u == nil || *u.EnergyJoules != 0.7 || u.Utilisation != nil || u.MemoryBytes != 4 || u.Processes != 2 {
		t.Errorf("it uses %+v", u)
	}
	use.hangs = true
	if u := used(); u != nil {
		t.Errorf("a leader that hangs tells %+v", u)
	}
	w.finish(answer.Job, 10_000, &scheduler.GPUUsage{Millijoules: 1500, Basis: "the GPU", Utilisation: 250, PeakBytes: 5, Devices: []string{"a100-sxm4-80gb"}, Processes: 3})
	if u := used(); u == nil || *u.EnergyJoules != 1.5 || u.ProcessesPeak != 3 || u.MemoryBytes != 0 {
		t.Errorf("it has used %+v", u)
	}
	receipt, err := w.c.Receipt(ctx, answer.Job, secret.Key("view"))
	if err != nil {
		t.Fatal(err)
	}
	// 10 seconds at a price of 1: 52.5, of which the GPUs are 4/5.25.
	lines := []client.ReceiptLine{{What: "CPU", AmountMicro: 10_000_000}, {What: "memory", AmountMicro: 2_500_000}, {What: "GPU a100", AmountMicro: 40_000_000}}
	if !slices.Equal(receipt.Lines[:3], lines) {
		t.Errorf("lines: %+v", receipt.Lines)
	}
	g := receipt.Usage.GPU
	if g == nil || g.EnergyJoules == nil || *g.EnergyJoules != 1.5 || g.Utilisation == nil || *g.Utilisation != 0.25 || g.MemoryPeakBytes != 5 || g.ProcessesPeak != 3 || !slices.Equal(g.Devices, []string{"a100-sxm4-80gb"}) {
		t.Errorf("usage: %+v", g)
	}
}

// A price list is replaced as a whole, and shown.
func TestPricesOfKinds(t *testing.T) {
	w, ctx := gpuWorld(t, nil), t.Context()
	list, err := w.c.Pools(ctx)
	if err != nil || list.Pools[0].Weights.GPUKinds["a100/1g.10gb"] != 300 || len(list.Pools[0].Weights.GPUKinds) != 3 {
		t.Errorf("%+v, %v", list, err)
	}
	for _, bad := range []map[string]int64{{"a100:2": 1}, {"": 1}, {"a100": -1}, {"a100": 1 << 40}} {
		_, err := w.client(operatorToken).SetPool(ctx, "default", client.PoolSet{Weights: &client.Weights{CPU: 1, GPUKinds: bad}})
		wantProblem(t, err, 422, "invalid")
	}
}

// inUse is what machines say of GPUs.
type inUse struct {
	known map[scheduler.RunID]api.GPUUse
	hangs bool
}

func (u *inUse) Use(ctx context.Context, _ []scheduler.RunID) (map[scheduler.RunID]api.GPUUse, error) {
	if u.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return u.known, nil
}

// runOf is the only run of a job.
func (w *world) runOf(job uint64) (run scheduler.RunID) {
	w.m.View().RunsOf(scheduler.JobID(job), func(r *scheduler.Run) bool {
		run = r.ID
		return true
	})
	return run
}

// finish starts and ends the run of a job that is placed.
func (w *world) finish(job uint64, ran funding.Millis, used *scheduler.GPUUsage) {
	w.t.Helper()
	run, start := w.runOf(job), w.at
	w.reports(machine.RunReport{Run: run, Started: &start})
	w.later(ran)
	w.reports(machine.RunReport{Run: run, Ended: &machine.End{At: w.at, Reason: scheduler.ReasonExited, GPU: used}})
}
