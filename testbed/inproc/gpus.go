package inproc

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
)

// GPUs is a provider of GPUs that are in nobody's machine: it hands them out, and remembers what it was asked.
type GPUs struct {
	mu      sync.Mutex
	devices []gpu.Device
	tasks   map[string]gpu.Grant
	asked   int  // for GPUs
	taken   bool // somebody who did not ask uses all of them
	news    chan gpu.Event
}

// NewGPUs makes so many of a model, joined with each other or not.
func NewGPUs(count int, model string, joined bool, change func(*gpu.Device)) *GPUs {
	g := &GPUs{tasks: map[string]gpu.Grant{}, news: make(chan gpu.Event, 16)}
	for i := range count {
		d := gpu.Device{ID: fmt.Sprintf("GPU-%d", i), Index: i, Model: model, MemoryBytes: 80 << 30, NUMA: -1, State: gpu.StateFree}
		for peer := range count {
			if joined && peer != i {
				d.Links = append(d.Links, gpu.Link{Peer: fmt.Sprintf("GPU-%d", peer), Lanes: 12})
			}
		}
		if change != nil {
			change(&d)
		}
		g.devices = append(g.devices, d)
	}
	return g
}

// Inventory is part of [gpu.Provider].
func (g *GPUs) Inventory(context.Context) (gpu.Inventory, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return gpu.Inventory{ProtocolVersion: gpu.ProtocolVersion, Driver: "test", Devices: slices.Clone(g.devices)}, nil
}

// Allocate is part of [gpu.Provider]: whole GPUs that are free, or a part of one that is not whole another's.
func (g *GPUs) Allocate(_ context.Context, r gpu.Request) (gpu.Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if grant, ok := g.tasks[r.Task]; ok {
		return grant, nil
	}
	g.asked++
	grant := gpu.Grant{Task: r.Task, Kind: r.Kind}
	for i := range g.devices {
		d := &g.devices[i]
		part := r.Kind == gpu.Slice && d.MIG.Capable || r.Kind == gpu.Share && d.Shares > 0
		fits := d.State == gpu.StateFree || part && (d.State == gpu.StateSliced || d.State == gpu.StateShared)
		if g.taken || !fits || !gpu.Matches(d.Model, r.Model) || len(grant.Devices) == max(1, r.Count) {
			continue
		}
		d.State = map[gpu.Kind]gpu.State{gpu.Slice: gpu.StateSliced, gpu.Share: gpu.StateShared}[r.Kind]
		if d.State == "" {
			d.State = gpu.StateWhole
		}
		d.Tasks = append(slices.Clone(d.Tasks), r.Task)
		grant.Devices = append(grant.Devices, gpu.Granted{Device: d.ID, Model: d.Model, Profile: r.Profile, Visible: d.ID, MemoryBytes: d.MemoryBytes})
	}
	if len(grant.Devices) < max(1, r.Count) {
		g.free(r.Task)
		return gpu.Grant{}, gpu.ErrNoRoom
	}
	g.tasks[r.Task] = grant
	return grant, nil
}

// free gives back what a task has; mu is held.
func (g *GPUs) free(task string) {
	for i := range g.devices {
		d := &g.devices[i]
		d.Tasks = slices.DeleteFunc(slices.Clone(d.Tasks), func(t string) bool { return t == task })
		if len(d.Tasks) == 0 && d.State != gpu.StateSick {
			d.State = gpu.StateFree
		}
	}
}

// Release is part of [gpu.Provider].
func (g *GPUs) Release(_ context.Context, task string) (gpu.Usage, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.tasks[task]; !ok {
		return gpu.Usage{}, drivers.ErrNoTask
	}
	g.free(task)
	delete(g.tasks, task)
	return usage(true), nil
}

// Usage is part of [gpu.Provider].
func (g *GPUs) Usage(context.Context) (map[string]gpu.Usage, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := map[string]gpu.Usage{}
	for task := range g.tasks {
		all[task] = usage(false)
	}
	return all, nil
}

func usage(over bool) gpu.Usage {
	return gpu.Usage{EnergyMillijoules: 7250, EnergyBasis: "the GPU", Utilisation: 500, MemoryPeakBytes: 3 << 30, Released: over}
}

// Watch is part of [gpu.Provider].
func (g *GPUs) Watch(ctx context.Context) (<-chan gpu.Event, error) {
	out := make(chan gpu.Event)
	go func() {
		defer close(out)
		for {
			select {
			case e := <-g.news:
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// Sicken lets a GPU fail.
func (g *GPUs) Sicken(i int, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := &g.devices[i]
	d.State, d.Reason = gpu.StateSick, reason
	g.news <- gpu.Event{Device: d.ID, Sick: true, XID: 79, Reason: reason, Tasks: d.Tasks}
}

// Occupy lets somebody who did not ask use all of them, or stop.
func (g *GPUs) Occupy(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken = on
}

// Asked is how often it was asked for GPUs.
func (g *GPUs) Asked() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}
