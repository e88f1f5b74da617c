package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// readGPU reads what a job asks of GPUs: whole ones are counted among its resources, of a slice or a share it has one.
func readGPU(j client.JobSpec, need *scheduler.Resources) (scheduler.GPURequest, error) {
	g, err := scheduler.ParseGPU(j.GPUKind)
	if err != nil {
		return g, err
	}
	g.Memory, g.NVLink = j.GPUMemoryBytes, j.NVLink
	if g.Kind == scheduler.GPUWhole || j.GPUs != 1 {
		need.GPUs = j.GPUs // where it is a part, more than one is refused below
	}
	return g, g.Validate(*need)
}

// tellGPU is readGPU the other way round.
func tellGPU(s *scheduler.Shape) (count int64, kind string) {
	if s.GPU.Kind != scheduler.GPUWhole {
		return 1, s.GPU.Name()
	}
	return s.Need.GPUs, s.GPU.Name()
}

// partsOf tells of what a weight is made.
func partsOf(p *scheduler.Pool, s *scheduler.Shape, weight int64) []client.WeightPart {
	weighed, _, err := p.Weigh(s.Need, s.GPU)
	if err != nil {
		return nil
	}
	var parts []client.WeightPart
	for _, line := range scheduler.SplitWeight(weight, scheduler.Parts(weighed, s.Need, s.GPU)) {
		parts = append(parts, client.WeightPart{What: line.What, WeightMilli: int64(line.Amount)})
	}
	return parts
}

// modelsShown bounds the models that a refusal names.
const modelsShown = 8

// gpusShort says what there is instead of GPUs that no node of the pool has: the models, with how many of each one node has
// at most.
func gpusShort(v *machine.View, s spec) string {
	most, parts := map[string]int64{}, map[string][]string{}
	var dear []string
	for _, n := range v.Nodes() {
		if n.Pool != s.pool.ID {
			continue
		}
		here := map[string]int64{}
		for i := range n.Cards {
			c := &n.Cards[i]
			if c.Sick {
				continue
			}
			here[c.Model] += int64(c.Count)
			most[c.Model] = max(most[c.Model], here[c.Model])
			for _, p := range c.Profiles {
				if !slices.Contains(parts[c.Model], p.Name) {
					parts[c.Model] = append(parts[c.Model], p.Name)
				}
			}
			named := s.gpu
			named.Model = c.Model
			if !s.pool.Sells(s.gpu, c.Model) && (s.gpu.Model == "" || scheduler.IsModel(c.Model, s.gpu.Model)) && s.pool.Sells(named, c.Model) {
				dear = append(dear, c.Model)
			}
		}
	}
	if len(most) == 0 {
		return "; it has no GPUs"
	}
	var models []string
	for model, n := range most {
		text := fmt.Sprintf("%s (%d)", model, n)
		if s.gpu.Kind == scheduler.GPUSlice && len(parts[model]) > 0 {
			text = fmt.Sprintf("%s (%d: %s)", model, n, strings.Join(parts[model], " "))
		}
		models = append(models, text)
	}
	slices.Sort(models)
	text := "; there are " + strings.Join(models[:min(len(models), modelsShown)], ", ")
	if len(dear) > 0 {
		slices.Sort(dear)
		text += "; dearer ones must be asked for by their name: " + strings.Join(slices.Compact(dear), ", ")
	}
	return text
}

// cardsView shows a node's GPUs and what is sold of them.
func cardsView(n *scheduler.Node) []client.Card {
	var cards []client.Card
	for i, use := range n.CardUses() {
		c := &n.Cards[i]
		card := client.Card{
			Model: c.Model, Count: c.Count, MemoryBytes: c.Memory, Island: c.Island, Free: use.Free, Whole: use.Whole,
			Slices: use.Parts, SlicesUsed: use.Slices, Shares: c.Count * c.Shares, SharesUsed: use.Shares, SlicesOnly: c.SlicesOnly,
			State: "ok", Reason: c.Reason, ID: c.ID,
		}
		if c.Sick {
			card.State = "sick"
		}
		if c.MIG {
			for _, p := range c.Profiles {
				card.Profiles = append(card.Profiles, p.Name)
			}
		}
		cards = append(cards, card)
	}
	return cards
}

// usedOfGPUs is what a job's tasks used of GPUs, nil where they had none.
func usedOfGPUs(u *scheduler.GPUUsage) *client.GPUUsage {
	if u == nil {
		return nil
	}
	used := &client.GPUUsage{Devices: u.Devices, MemoryPeakBytes: u.PeakBytes, EnergyBasis: u.Basis, ProcessesPeak: u.Processes}
	if u.Basis != "" {
		joules := float64(u.Millijoules) / 1000
		used.EnergyJoules = &joules
	}
	if u.Utilisation >= 0 {
		mean := float64(u.Utilisation) / 1000
		used.Utilisation = &mean
	}
	return used
}

// gpuUseWait is how long the answer about a job waits for what its runs use now: it is worth no more.
const gpuUseWait = time.Second

// addGPUUse tells what the runs that go on use of GPUs, where it can be found out.
func (a *API) addGPUUse(ctx context.Context, v *machine.View, j *scheduler.Job, private *client.JobPrivate) {
	shape, ok := v.Shape(j.Shape)
	if !ok || !shape.GPU.Asks(shape.Need) || a.config.GPUs == nil {
		return
	}
	var open []scheduler.RunID
	for _, r := range private.Runs {
		if r.Started != nil && r.Ended == nil {
			open = append(open, scheduler.RunID(r.Run))
		}
	}
	if len(open) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, gpuUseWait)
	defer cancel()
	uses, err := a.config.GPUs.Use(ctx, open)
	if err != nil {
		a.log.Debug("what a job uses of GPUs is left out", "job", j.ID, "error", err)
		return
	}
	for i := range private.Runs {
		r := &private.Runs[i]
		if use, told := uses[scheduler.RunID(r.Run)]; told && r.Ended == nil {
			r.GPU = usedOfGPUs(&use.Sum)
			r.GPU.MemoryBytes, r.GPU.Processes = use.MemoryBytes, use.Processes
		}
	}
}

// kindWeights reads a pool's price list; the order of its names is the state's.
func kindWeights(list map[string]int64) ([]scheduler.KindWeight, error) {
	kinds := make([]scheduler.KindWeight, 0, len(list))
	for name, weight := range list {
		g, err := scheduler.ParseGPU(name)
		if err != nil {
			return nil, err
		}
		if g.Name() == "" {
			return nil, fail(string(machine.CodeInvalid), "gpu_kinds: a kind without a name; the weight of any GPU is gpu")
		}
		kinds = append(kinds, scheduler.KindWeight{Name: g.Name(), Weight: weight})
	}
	slices.SortFunc(kinds, func(a, b scheduler.KindWeight) int { return strings.Compare(a.Name, b.Name) })
	return kinds, nil
}

// weightsView shows what a pool's resources weigh.
func weightsView(p *scheduler.Pool) client.Weights {
	w := client.Weights{CPU: p.Weights.CPU, Memory: p.Weights.Memory, Disk: p.Weights.Disk, GPU: p.Weights.GPU, Suspended: p.Weights.Suspended}
	for _, k := range p.Kinds {
		if w.GPUKinds == nil {
			w.GPUKinds = map[string]int64{}
		}
		w.GPUKinds[k.Name] = k.Weight
	}
	return w
}
