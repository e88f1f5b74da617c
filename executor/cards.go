package executor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/executor/wire"
)

// cards are a machine's GPUs as its facts have them, and how many can be had whole.
func cards(all []gpu.Device) (list []*wire.Card, whole int64) {
	islands := islandsOf(all)
	for _, d := range all {
		c := &wire.Card{
			Id: d.ID, Model: gpu.Slug(d.Model), MemoryBytes: d.MemoryBytes, Island: islands[d.ID], Shares: int32(d.Shares),
			Mig: d.MIG.On || d.MIG.OnDemand, SlicesOnly: d.MIG.On && !d.MIG.OnDemand, Sick: !forSale(d.State), Reason: plainText(d.Reason),
		}
		if c.Sick && c.Reason == "" {
			c.Reason = "it is " + string(d.State)
		}
		for _, p := range d.MIG.Profiles {
			c.Profiles = append(c.Profiles, &wire.MIGProfile{Name: p.Name, Slices: int32(p.Slices), MemoryBytes: p.MemoryBytes, Max: int32(p.Max)})
		}
		if !c.Sick && !c.SlicesOnly {
			whole++
		}
		list = append(list, c)
	}
	return list, whole
}

// forSale says whether a GPU in this state may be given to tasks, now or when those that have it have ended. One that is being
// cleaned is so for an instant, unless something hangs on it.
func forSale(s gpu.State) bool {
	return slices.Contains([]gpu.State{gpu.StateFree, gpu.StateWhole, gpu.StateSliced, gpu.StateShared}, s)
}

// islandsOf numbers the sets of GPUs of which each reaches each other by NVLink. A GPU is in one set: the first that takes it.
func islandsOf(all []gpu.Device) map[string]int32 {
	var sets [][]gpu.Device
	for _, d := range all {
		i := slices.IndexFunc(sets, func(set []gpu.Device) bool {
			return !slices.ContainsFunc(set, func(other gpu.Device) bool { return !linked(d, other) })
		})
		if i < 0 {
			sets = append(sets, []gpu.Device{d})
			continue
		}
		sets[i] = append(sets[i], d)
	}
	islands, next := map[string]int32{}, int32(0)
	for _, set := range sets {
		if len(set) < 2 {
			continue
		}
		next++
		for _, d := range set {
			islands[d.ID] = next
		}
	}
	return islands
}

func linked(a, b gpu.Device) bool {
	return slices.ContainsFunc(a.Links, func(l gpu.Link) bool { return l.Peer == b.ID })
}

// requestOf is what a run's spec asks of the provider.
func requestOf(task string, r *wire.GPURequest) gpu.Request {
	kind := map[wire.GPUKind]gpu.Kind{wire.GPUKind_GPU_KIND_SLICE: gpu.Slice, wire.GPUKind_GPU_KIND_SHARE: gpu.Share}[r.GetKind()]
	return gpu.Request{
		Task: task, Kind: cmp.Or(kind, gpu.Whole), Count: int(r.GetCount()), Model: r.GetModel(), MemoryBytes: r.GetMemoryBytes(),
		Profile: r.GetProfile(), NVLink: r.GetNvlink(),
	}
}

// usageOf is what is told of a run's GPUs.
func usageOf(u gpu.Usage, r *wire.GPURequest, granted []gpu.Granted) *wire.GPUUsage {
	out := &wire.GPUUsage{
		EnergyMillijoules: u.EnergyMillijoules, Basis: u.EnergyBasis, UtilisationMilli: int32(u.Utilisation), MemoryPeakBytes: u.MemoryPeakBytes,
		MemoryBytes: u.MemoryBytes, Processes: int32(len(u.Processes)), ProcessesPeak: int32(u.ProcessesPeak),
	}
	for _, d := range granted {
		what := d.Profile
		if r.GetKind() == wire.GPUKind_GPU_KIND_SHARE {
			what = string(gpu.Share)
		}
		out.Devices = append(out.Devices, strings.TrimSpace(gpu.Slug(d.Model)+" "+what))
	}
	return out
}

// gpuNotes are what people should know of a machine's GPUs.
func gpuNotes(i gpu.Inventory) (notes []string) {
	if i.Note != "" {
		notes = append(notes, plainText("GPUs: "+i.Note))
	}
	if len(i.Missing) > 0 {
		notes = append(notes, plainText(fmt.Sprintf("GPUs: their library is old and lacks %s", strings.Join(i.Missing, ", "))))
	}
	return notes
}
