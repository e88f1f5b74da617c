package nvml

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/coinop/coinop/drivers/gpu"
)

// cutSlice makes a MIG instance where it costs large slices least: on a GPU that is cut already, else on one whose MIG is on,
// else, if that is allowed, on a free one.
func (p *Provider) cutSlice(r gpu.Request) (*record, error) {
	made, err := p.cutOn(r, p.cards)
	if err == nil || !p.config.MIG || !errors.Is(err, gpu.ErrNoRoom) && !errors.Is(err, gpu.ErrNone) {
		return made, err
	}
	var free []gpu.Device
	for _, c := range p.cards {
		if suits(c, r) && !c.on() && c.offers(r) && p.empty(c) {
			free = append(free, c.Device)
		}
	}
	var failed error
	for len(free) > 0 {
		next := gpu.Joined(free, 1, false)[0]
		free = slices.DeleteFunc(free, func(d gpu.Device) bool { return d.ID == next.ID })
		c := p.card(next.ID)
		if err := c.turn(true); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%w: %w", gpu.ErrNoRoom, err))
			continue
		}
		return p.cutOn(r, []*card{c})
	}
	if failed != nil {
		return nil, failed
	}
	if p.canCut(r) {
		return nil, gpu.ErrNoRoom
	}
	return nil, err
}

// canCut says whether a GPU that is not cut now could be, when its holder has gone.
func (p *Provider) canCut(r gpu.Request) bool {
	return slices.ContainsFunc(p.cards, func(c *card) bool { return suits(c, r) && !c.on() && c.offers(r) && c.sick == "" })
}

// promised are the profiles of a GPU whose MIG is off, which the library tells without their places.
func (c *card) promised(state gpu.State) []gpu.Profile {
	var all []gpu.Profile
	for number := range nvml.GPU_INSTANCE_PROFILE_COUNT {
		info, ret := c.device.GetGpuInstanceProfileInfo(number)
		if ret != nvml.SUCCESS {
			continue
		}
		found := gpu.Profile{
			Name: c.profileName(number, info), Slices: int(info.SliceCount), MemoryBytes: int64(info.MemorySizeMB) << 20, Max: int(info.InstanceCount),
		}
		if state == gpu.StateFree {
			found.Free = found.Max
		}
		all = append(all, found)
	}
	slices.SortStableFunc(all, func(a, b gpu.Profile) int {
		return cmp.Or(cmp.Compare(b.Slices, a.Slices), cmp.Compare(b.MemoryBytes, a.MemoryBytes))
	})
	return all
}

// offers says whether a GPU whose MIG is off would have the slice.
func (c *card) offers(r gpu.Request) bool {
	for number := range nvml.GPU_INSTANCE_PROFILE_COUNT {
		info, ret := c.device.GetGpuInstanceProfileInfo(number)
		if ret == nvml.SUCCESS && int64(info.MemorySizeMB)<<20 >= r.MemoryBytes && (r.Profile == "" || r.Profile == c.profileName(number, info)) {
			return true
		}
	}
	return false
}

// fitting is the profile asked for: by its name, or the smallest with the memory; -1: the GPU has it not.
func (c *card) fitting(r gpu.Request) int {
	found := -1
	for i, profile := range c.profiles { // largest first
		if profile.memory >= r.MemoryBytes && (r.Profile == "" || r.Profile == profile.name) && len(profile.places) > 0 {
			found = i
		}
	}
	return found
}

func (p *Provider) cutOn(r gpu.Request, cards []*card) (*record, error) {
	var candidates []*card
	var layouts []gpu.Layout
	var profiles []int
	any := false
	for _, c := range cards {
		if !c.on() || !suits(c, r) {
			continue
		}
		chosen := c.fitting(r)
		any = any || chosen >= 0
		if state, _ := p.state(c); chosen < 0 || state == gpu.StateSick || state == gpu.StateBusy || p.full(c, chosen) {
			continue
		}
		candidates, layouts, profiles = append(candidates, c), append(layouts, p.layout(c)), append(profiles, chosen)
	}
	at, place, ok := gpu.Pack(layouts, profiles)
	switch {
	case !any:
		return nil, fmt.Errorf("%w: no GPU whose MIG is on has this slice", gpu.ErrNone)
	case !ok:
		return nil, gpu.ErrNoRoom
	}
	return p.cutAt(r, candidates[at], candidates[at].profiles[profiles[at]], place)
}

// full says whether a GPU holds as many of a profile as it may, whatever room there is (1g.5gb+me: one).
func (p *Provider) full(c *card, chosen int) bool {
	found, ret := c.device.GetGpuInstances(&c.profiles[chosen].info)
	return failure(ret) != nil || len(found) >= c.profiles[chosen].count
}

func (p *Provider) cutAt(request gpu.Request, c *card, chosen profile, place gpu.Place) (*record, error) {
	if err := c.set(p.config.Settings, gpu.Slice); err != nil {
		return nil, err
	}
	r := &record{Boot: p.boot, Phase: phaseMaking, Request: request}
	r.Parts = []part{{Device: c.ID, Sliced: true, Place: place, Slices: chosen.slices, Of: c.profiles[0].slices}}
	r.Grant.Devices = []gpu.Granted{{Device: c.ID, Model: c.Model, Profile: chosen.name, MemoryBytes: chosen.memory}}
	if err := p.save(r); err != nil {
		return nil, err
	}
	id, uuid, err := c.cut(chosen, place)
	if err != nil {
		return nil, p.undoAfter(r, err)
	}
	r.Parts[0].Instance = id
	r.Grant.Devices[0].Visible = uuid
	return r, p.hold(r)
}
