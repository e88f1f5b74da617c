package server

import (
	"slices"

	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/scheduler"
)

// cardsOf is what the state keeps of a machine's GPUs: those that are alike as one row with their number, and each that is
// not to be had by itself. What has a name that nobody could ask for is left out.
func cardsOf(list []*wire.Card) []scheduler.Card {
	var cards []scheduler.Card
	for _, w := range list {
		c := scheduler.Card{
			Count: 1, Model: w.Model, Memory: w.MemoryBytes, Island: w.Island, Shares: w.Shares, MIG: w.Mig,
			Sick: w.Sick, Reason: w.Reason, SlicesOnly: w.SlicesOnly,
		}
		if g, err := scheduler.ParseGPU(w.Model); err != nil || g != (scheduler.GPURequest{Model: w.Model}) || w.Model == "" {
			c.Model = "gpu" // of a name that no request could hold
		}
		for _, p := range w.Profiles {
			if scheduler.IsProfile(p.Name) && p.Slices > 0 {
				c.Profiles = append(c.Profiles, scheduler.Profile{Name: p.Name, Slices: p.Slices, Memory: p.MemoryBytes, Max: p.Max})
			}
		}
		if c.Sick {
			c.ID = w.Id
			cards = append(cards, c)
			continue
		}
		alike := slices.IndexFunc(cards, func(row scheduler.Card) bool {
			row.Count = 1
			return row.Equal(c)
		})
		if alike < 0 {
			cards = append(cards, c)
		} else {
			cards[alike].Count++
		}
	}
	return cards
}

// gpuRequest is what a task of the shape asks its machine for.
func gpuRequest(s *scheduler.Shape) *wire.GPURequest {
	if !s.GPU.Asks(s.Need) {
		return nil
	}
	r := &wire.GPURequest{
		Kind: wire.GPUKind_GPU_KIND_WHOLE, Count: int32(max(1, s.Need.GPUs)), Model: s.GPU.Model, MemoryBytes: s.GPU.Memory,
		Profile: s.GPU.Profile, Nvlink: s.GPU.NVLink,
	}
	switch s.GPU.Kind {
	case scheduler.GPUSlice:
		r.Kind = wire.GPUKind_GPU_KIND_SLICE
	case scheduler.GPUShare:
		r.Kind = wire.GPUKind_GPU_KIND_SHARE
	}
	return r
}

// gpuUsage is what a run is said to have used of GPUs; what cannot be is left out.
func gpuUsage(u *wire.GPUUsage) *scheduler.GPUUsage {
	if u == nil {
		return nil
	}
	used := &scheduler.GPUUsage{
		Millijoules: u.EnergyMillijoules, Basis: u.Basis, Utilisation: u.UtilisationMilli, PeakBytes: u.MemoryPeakBytes, Devices: u.Devices,
		Processes: u.ProcessesPeak,
	}
	if !used.Possible() {
		return nil
	}
	return used
}
