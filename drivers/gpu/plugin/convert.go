package plugin

import (
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/drivers/gpu/plugin/gpupb"
)

func inventoryToWire(i gpu.Inventory) *gpupb.InventoryResponse {
	out := &gpupb.InventoryResponse{ProtocolVersion: int32(i.ProtocolVersion), Driver: i.Driver, Note: i.Note, Missing: i.Missing}
	for _, d := range i.Devices {
		one := &gpupb.Device{
			Id: d.ID, Index: int32(d.Index), Minor: int32(d.Minor), Model: d.Model, MemoryBytes: d.MemoryBytes, Pci: d.PCI, Numa: int32(d.NUMA),
			MigCapable: d.MIG.Capable, MigOn: d.MIG.On, MigOnDemand: d.MIG.OnDemand, Shares: int32(d.Shares), State: string(d.State), Reason: d.Reason, Tasks: d.Tasks,
			ComputeMode: d.Settings.ComputeMode, Persistence: d.Settings.Persistence, PowerLimitWatts: int32(d.Settings.PowerLimitWatts),
		}
		for _, l := range d.Links {
			one.Links = append(one.Links, &gpupb.Link{Peer: l.Peer, Lanes: int32(l.Lanes)})
		}
		for _, p := range d.MIG.Profiles {
			one.Profiles = append(one.Profiles, &gpupb.Profile{
				Name: p.Name, Slices: int32(p.Slices), MemoryBytes: p.MemoryBytes, Max: int32(p.Max), Free: int32(p.Free),
			})
		}
		out.Devices = append(out.Devices, one)
	}
	return out
}

func inventoryFromWire(i *gpupb.InventoryResponse) gpu.Inventory {
	out := gpu.Inventory{ProtocolVersion: int(i.GetProtocolVersion()), Driver: i.GetDriver(), Note: i.GetNote(), Missing: i.GetMissing()}
	for _, d := range i.GetDevices() {
		one := gpu.Device{
			ID: d.GetId(), Index: int(d.GetIndex()), Minor: int(d.GetMinor()), Model: d.GetModel(), MemoryBytes: d.GetMemoryBytes(),
			PCI: d.GetPci(), NUMA: int(d.GetNuma()), MIG: gpu.MIG{Capable: d.GetMigCapable(), On: d.GetMigOn(), OnDemand: d.GetMigOnDemand()},
			Shares: int(d.GetShares()), State: gpu.State(d.GetState()), Reason: d.GetReason(), Tasks: d.GetTasks(),
			Settings: gpu.Settings{ComputeMode: d.GetComputeMode(), Persistence: d.GetPersistence(), PowerLimitWatts: int(d.GetPowerLimitWatts())},
		}
		for _, l := range d.GetLinks() {
			one.Links = append(one.Links, gpu.Link{Peer: l.GetPeer(), Lanes: int(l.GetLanes())})
		}
		for _, p := range d.GetProfiles() {
			one.MIG.Profiles = append(one.MIG.Profiles, gpu.Profile{
				Name: p.GetName(), Slices: int(p.GetSlices()), MemoryBytes: p.GetMemoryBytes(), Max: int(p.GetMax()), Free: int(p.GetFree()),
			})
		}
		out.Devices = append(out.Devices, one)
	}
	return out
}

func grantToWire(g gpu.Grant) *gpupb.AllocateResponse {
	out := &gpupb.AllocateResponse{Task: g.Task, Kind: string(g.Kind), Cdi: g.CDI, Env: g.Env}
	for _, d := range g.Devices {
		out.Devices = append(out.Devices, &gpupb.Granted{
			Device: d.Device, Model: d.Model, Visible: d.Visible, Profile: d.Profile, MemoryBytes: d.MemoryBytes,
		})
	}
	for _, node := range g.Nodes {
		out.Nodes = append(out.Nodes, []byte(node))
	}
	return out
}

func grantFromWire(g *gpupb.AllocateResponse) gpu.Grant {
	out := gpu.Grant{Task: g.GetTask(), Kind: gpu.Kind(g.GetKind()), CDI: g.GetCdi(), Env: g.GetEnv()}
	for _, d := range g.GetDevices() {
		out.Devices = append(out.Devices, gpu.Granted{
			Device: d.GetDevice(), Model: d.GetModel(), Visible: d.GetVisible(), Profile: d.GetProfile(), MemoryBytes: d.GetMemoryBytes(),
		})
	}
	for _, node := range g.GetNodes() {
		out.Nodes = append(out.Nodes, string(node))
	}
	return out
}

func usageToWire(u gpu.Usage) *gpupb.Usage {
	out := &gpupb.Usage{
		EnergyMillijoules: u.EnergyMillijoules, EnergyBasis: u.EnergyBasis, Utilisation: int32(u.Utilisation),
		MemoryBytes: u.MemoryBytes, MemoryPeakBytes: u.MemoryPeakBytes, ProcessesPeak: int32(u.ProcessesPeak), Released: u.Released,
	}
	for _, p := range u.Processes {
		out.Processes = append(out.Processes, &gpupb.Process{Pid: int64(p.Pid), Device: p.Device, MemoryBytes: p.MemoryBytes})
	}
	return out
}

func usageFromWire(u *gpupb.Usage) gpu.Usage {
	out := gpu.Usage{
		EnergyMillijoules: u.GetEnergyMillijoules(), EnergyBasis: u.GetEnergyBasis(), Utilisation: int(u.GetUtilisation()),
		MemoryBytes: u.GetMemoryBytes(), MemoryPeakBytes: u.GetMemoryPeakBytes(), ProcessesPeak: int(u.GetProcessesPeak()), Released: u.GetReleased(),
	}
	for _, p := range u.GetProcesses() {
		out.Processes = append(out.Processes, gpu.Process{Pid: int(p.GetPid()), Device: p.GetDevice(), MemoryBytes: p.GetMemoryBytes()})
	}
	return out
}
