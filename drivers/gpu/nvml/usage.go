package nvml

import (
	"context"
	"fmt"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/coinop/coinop/drivers/gpu"
)

// counter reads the energy that a GPU took since its driver was loaded, in millijoules.
func (c *card) counter() (millijoules uint64, ok bool) {
	if c.device == nil {
		return 0, false
	}
	millijoules, ret := c.device.GetTotalEnergyConsumption()
	return millijoules, ret == nvml.SUCCESS
}

// meter shares what a GPU took since it was last read among those who have it. Each keeps the counter as it was then. On disk
// it may be an older one: between turnovers that comes to the same.
func (p *Provider) meter(c *card) {
	now, ok := c.counter()
	if !ok {
		return
	}
	sharers := int64(len(p.holders(c, -1)))
	for _, r := range p.on(c) {
		if r.Phase != phaseHeld {
			continue
		}
		for i := range r.Parts {
			part := &r.Parts[i]
			if part.Device != c.ID || !part.Metered {
				continue
			}
			took := int64(now - part.Counter)
			if now < part.Counter { // the driver was loaded anew, and its counter with it
				took = int64(now)
			}
			part.Counter = now
			switch r.Request.Kind {
			case gpu.Share:
				took /= sharers
			case gpu.Slice:
				took = took * int64(part.Slices) / int64(part.Of)
			}
			part.Energy += took
		}
	}
}

// turnover meters a GPU before the number of those who have it changes.
func (p *Provider) turnover(c *card) {
	p.meter(c)
	for _, r := range p.on(c) {
		if r.Phase == phaseHeld && r.Request.Kind == gpu.Share {
			p.keep(r)
		}
	}
}

func (p *Provider) keep(r *record) {
	if err := p.save(r); err != nil {
		p.config.Log.Warn("a task's energy is not written down", "err", err)
	}
}

// sample looks at what tasks use now, for means and peaks.
func (p *Provider) sample() {
	for _, c := range p.cards {
		p.meter(c)
	}
	for _, r := range p.ordered() {
		if r.Phase != phaseHeld {
			continue
		}
		p.observe(r)
		if time.Since(r.written) > 30*time.Second {
			p.keep(r)
		}
	}
}

// observe adds one look at a task to its means and peaks, and returns the memory in use and who uses it.
func (p *Provider) observe(r *record) (memory int64, processes []gpu.Process) {
	var use, measured int64
	for _, part := range r.Parts {
		processes = append(processes, p.processesOf(part)...)
		device := p.deviceOf(part)
		if device == nil {
			continue
		}
		if info, ret := device.GetMemoryInfo(); ret == nvml.SUCCESS {
			memory += int64(info.Used)
		}
		if part.Sliced {
			continue // the library measures no slice's use
		}
		if rates, ret := device.GetUtilizationRates(); ret == nvml.SUCCESS {
			use += 10 * int64(rates.Gpu)
			measured++
		}
	}
	r.Peak, r.Most = max(r.Peak, memory), max(r.Most, len(processes))
	if measured > 0 {
		r.UseSum += use / measured
		r.UseSamples++
	}
	return memory, processes
}

// processesOf are those on a GPU or in a slice. A GPU that does not answer is examined elsewhere.
func (p *Provider) processesOf(part part) (all []gpu.Process) {
	c := p.card(part.Device)
	if c.device == nil {
		return nil
	}
	found, err := c.processes()
	if err != nil {
		return nil
	}
	for _, process := range found {
		if !part.Sliced || int(process.GpuInstanceId) == part.Instance {
			all = append(all, gpu.Process{Pid: int(process.Pid), Device: c.ID, MemoryBytes: known(process.UsedGpuMemory)})
		}
	}
	return all
}

// deviceOf is what a part's memory and processes are asked of: the GPU or the MIG device; nil: not there.
func (p *Provider) deviceOf(part part) nvml.Device {
	c := p.card(part.Device)
	if c.device == nil || !part.Sliced {
		return c.device
	}
	slice, ret := c.slice(part.Instance)
	if ret != nvml.SUCCESS {
		return nil
	}
	return slice
}

// Usage implements gpu.Provider.
func (p *Provider) Usage(context.Context) (map[string]gpu.Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.cards {
		p.meter(c)
	}
	all := map[string]gpu.Usage{}
	for _, r := range p.ordered() {
		if r.Phase != phaseHeld {
			continue
		}
		memory, processes := p.observe(r)
		u := p.usage(r)
		u.MemoryBytes, u.Processes = memory, processes
		all[r.Request.Task] = u
	}
	return all, nil
}

// known is zero where the library says that it cannot tell.
func known(bytes uint64) int64 {
	if bytes == ^uint64(0) {
		return 0
	}
	return int64(bytes)
}

func (p *Provider) usage(r *record) gpu.Usage {
	u := gpu.Usage{Utilisation: -1, MemoryPeakBytes: r.Peak, ProcessesPeak: r.Most, Released: r.Phase != phaseHeld}
	if r.UseSamples > 0 {
		u.Utilisation = int(r.UseSum / r.UseSamples)
	}
	for _, part := range r.Parts {
		if !part.Metered {
			continue
		}
		u.EnergyMillijoules += part.Energy
		switch r.Request.Kind {
		case gpu.Share:
			u.EnergyBasis = "an equal part of the GPU"
		case gpu.Slice:
			u.EnergyBasis = fmt.Sprintf("%d/%d of the GPU", part.Slices, part.Of)
		default:
			u.EnergyBasis = "the GPU"
		}
	}
	return u
}
