package nvml

import (
	"fmt"
	"math"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
)

// card is one GPU. Its gpu.Device holds what never changes. Owned by Provider.mu.
type card struct {
	gpu.Device
	device   nvml.Device // nil: recorded, and not on this machine any more
	profiles []profile   // of a GPU whose MIG mode is on
	sick     string      // why it gets no new task
	stuck    string      // why its MIG mode could not be changed
}

func (p *Provider) newCard(index int, device nvml.Device) (*card, nvml.Return) {
	c := &card{device: device}
	c.Index = index
	var ret nvml.Return
	if c.ID, ret = device.GetUUID(); ret != nvml.SUCCESS {
		return nil, ret
	}
	if c.Model, ret = device.GetName(); ret != nvml.SUCCESS {
		return nil, ret
	}
	memory, ret := device.GetMemoryInfo()
	if ret != nvml.SUCCESS {
		return nil, ret
	}
	c.MemoryBytes = int64(memory.Total)
	if c.Minor, ret = device.GetMinorNumber(); ret != nvml.SUCCESS {
		c.Minor = index
	}
	if pci, ret := device.GetPciInfo(); ret == nvml.SUCCESS {
		c.PCI = busID(pci)
	}
	c.NUMA = -1
	if nodes, ret := device.GetMemoryAffinity(64, nvml.AFFINITY_SCOPE_NODE); ret == nvml.SUCCESS {
		c.NUMA = lowest(nodes)
	}
	if _, _, ret := device.GetMigMode(); ret == nvml.SUCCESS {
		c.MIG.Capable = true
	}
	c.readProfiles()
	return c, nvml.SUCCESS
}

func busID(pci nvml.PciInfo) string {
	var text strings.Builder
	for _, b := range pci.BusId {
		if b == 0 {
			break
		}
		text.WriteByte(byte(b))
	}
	return strings.ToLower(text.String())
}

func lowest(nodes []uint) int {
	for i, word := range nodes {
		for bit := range 64 {
			if word&(1<<bit) != 0 {
				return i*64 + bit
			}
		}
	}
	return -1
}

// link finds out which GPUs NVLink joins. Switches and what else may be at the other end join nothing here.
func (p *Provider) link() {
	byBus := map[string]*card{}
	for _, c := range p.cards {
		byBus[c.PCI] = c
	}
	for _, c := range p.cards {
		lanes := map[string]int{}
		var order []string
		for i := range nvml.NVLINK_MAX_LINKS {
			state, ret := c.device.GetNvLinkState(i)
			if ret != nvml.SUCCESS {
				break
			}
			pci, ret := c.device.GetNvLinkRemotePciInfo(i)
			if ret != nvml.SUCCESS || state != nvml.FEATURE_ENABLED {
				continue
			}
			if peer := byBus[busID(pci)]; peer != nil && peer != c {
				if lanes[peer.ID] == 0 {
					order = append(order, peer.ID)
				}
				lanes[peer.ID]++
			}
		}
		for _, id := range order {
			c.Links = append(c.Links, gpu.Link{Peer: id, Lanes: lanes[id]})
		}
	}
}

// show is the card as the inventory has it.
func (p *Provider) show(c *card) gpu.Device {
	d := c.Device
	d.Tasks = p.holders(c, -1)
	d.State, d.Reason = p.state(c)
	if !c.MIG.Capable {
		d.Shares = p.config.Shares
	} else if d.MIG.On = c.on(); !d.MIG.On {
		d.Shares = p.config.Shares
	}
	if c.device == nil {
		return d
	}
	d.Settings = c.settings()
	d.MIG.OnDemand = c.MIG.Capable && p.config.MIG
	if d.MIG.OnDemand && !d.MIG.On {
		d.MIG.Profiles = c.promised(d.State)
	}
	if d.MIG.On {
		layout := p.layout(c)
		for i, profile := range c.profiles {
			d.MIG.Profiles = append(d.MIG.Profiles, gpu.Profile{
				Name: profile.name, Slices: profile.slices, MemoryBytes: profile.memory, Max: profile.count, Free: len(layout.Free(i)),
			})
		}
	}
	return d
}

func (p *Provider) state(c *card) (gpu.State, string) {
	if c.sick != "" {
		return gpu.StateSick, c.sick
	}
	var held gpu.Kind
	cleaning := ""
	for _, r := range p.on(c) {
		if r.Phase == phaseCleaning {
			cleaning = fmt.Sprintf("of task %s: %s", r.Request.Task, r.Unclean)
			continue
		}
		held = r.Request.Kind
	}
	switch {
	case held == gpu.Whole:
		return gpu.StateWhole, ""
	case held == gpu.Share:
		return gpu.StateShared, cleaning
	case held == gpu.Slice:
		return gpu.StateSliced, cleaning
	case cleaning != "":
		return gpu.StateCleaning, cleaning
	}
	if c.on() {
		if found, err := c.instances(); err != nil {
			return gpu.StateBusy, err.Error()
		} else if len(found) > 0 {
			return gpu.StateSliced, "it has MIG instances that are nobody's here"
		}
		return gpu.StateFree, c.stuck
	}
	found, err := c.processes()
	if err != nil {
		return gpu.StateBusy, err.Error()
	}
	if len(found) > 0 {
		return gpu.StateBusy, fmt.Sprintf("process %d uses it and is of no task", found[0].Pid)
	}
	return gpu.StateFree, c.stuck
}

// processes lists what uses a GPU, by whatever interface.
func (c *card) processes() ([]nvml.ProcessInfo, error) {
	all, ret := c.device.GetComputeRunningProcesses()
	if ret != nvml.SUCCESS {
		return nil, fmt.Errorf("list processes: %w", failure(ret))
	}
	for _, more := range []func() ([]nvml.ProcessInfo, nvml.Return){c.device.GetGraphicsRunningProcesses, c.device.GetMPSComputeRunningProcesses} {
		found, ret := more()
		switch ret {
		case nvml.SUCCESS:
			all = append(all, found...)
		case nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_FUNCTION_NOT_FOUND:
		default:
			return nil, fmt.Errorf("list processes: %w", failure(ret))
		}
	}
	return all, nil
}

func computeMode(name string) (nvml.ComputeMode, error) {
	switch name {
	case "", "default":
		return nvml.COMPUTEMODE_DEFAULT, nil
	case "exclusive":
		return nvml.COMPUTEMODE_EXCLUSIVE_PROCESS, nil
	case "prohibited":
		return nvml.COMPUTEMODE_PROHIBITED, nil
	}
	return 0, fmt.Errorf("provide GPUs: %w: compute mode is default, exclusive or prohibited, not %q", drivers.ErrInvalid, name)
}

// settings reads how a GPU is set; what it has not stays empty.
func (c *card) settings() gpu.Settings {
	var s gpu.Settings
	if mode, ret := c.device.GetComputeMode(); ret == nvml.SUCCESS {
		switch mode {
		case nvml.COMPUTEMODE_DEFAULT:
			s.ComputeMode = "default"
		case nvml.COMPUTEMODE_PROHIBITED:
			s.ComputeMode = "prohibited"
		default:
			s.ComputeMode = "exclusive"
		}
	}
	if mode, ret := c.device.GetPersistenceMode(); ret == nvml.SUCCESS {
		s.Persistence = "off"
		if mode == nvml.FEATURE_ENABLED {
			s.Persistence = "on"
		}
	}
	if limit, ret := c.device.GetPowerManagementLimit(); ret == nvml.SUCCESS {
		s.PowerLimitWatts = int(math.Round(float64(limit) / 1000))
	}
	return s
}

// set brings a GPU to what was configured, before somebody gets it. A share or slice needs the default compute mode.
func (c *card) set(want gpu.Settings, kind gpu.Kind) error {
	if kind != gpu.Whole {
		want.ComputeMode = "default"
	}
	have := c.settings()
	if want.ComputeMode != "" && have.ComputeMode != want.ComputeMode && kind != gpu.Slice {
		mode, err := computeMode(want.ComputeMode)
		if err != nil {
			return err
		}
		if ret := c.device.SetComputeMode(mode); ret != nvml.SUCCESS {
			return fmt.Errorf("set compute mode %s: %w", want.ComputeMode, failure(ret))
		}
	}
	if want.Persistence != "" && have.Persistence != want.Persistence {
		mode := nvml.FEATURE_DISABLED
		if want.Persistence == "on" {
			mode = nvml.FEATURE_ENABLED
		}
		if ret := c.device.SetPersistenceMode(mode); ret != nvml.SUCCESS {
			return fmt.Errorf("set persistence %s: %w", want.Persistence, failure(ret))
		}
	}
	if want.PowerLimitWatts == 0 || have.PowerLimitWatts == want.PowerLimitWatts {
		return nil
	}
	limit := uint32(want.PowerLimitWatts) * 1000
	if low, high, ret := c.device.GetPowerManagementLimitConstraints(); ret == nvml.SUCCESS {
		limit = min(max(limit, low), high) // one figure for GPUs of several models
	}
	if ret := c.device.SetPowerManagementLimit(limit); ret != nvml.SUCCESS {
		return fmt.Errorf("set power limit %d W: %w", limit/1000, failure(ret))
	}
	return nil
}
