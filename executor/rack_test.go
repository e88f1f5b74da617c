package executor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/executor/wire"
)

// rack is a provider of two pairs of GPUs, with the faults that a test plants. It watches over the order of things: what runs has its
// GPU, and what is given back runs no more.
type rack struct {
	machine *machine

	mu        sync.Mutex
	devices   []gpu.Device
	held      map[string][]int // GPUs by task
	done      map[string]bool
	allocated int // allocations that were new
	silent    chan struct{}
	stuck     string           // a method whose calls never return by themselves
	fails     map[string]error // by method
	asked     map[string]int
	watchers  map[chan gpu.Event]struct{}
}

func newRack(m *machine) *rack {
	p := &rack{machine: m, held: map[string][]int{}, done: map[string]bool{}, fails: map[string]error{}, asked: map[string]int{}, watchers: map[chan gpu.Event]struct{}{}}
	for i := range 4 {
		peer := fmt.Sprintf("GPU-%d", i^1)
		p.devices = append(p.devices, gpu.Device{
			ID: fmt.Sprintf("GPU-%d", i), Model: "NVIDIA A100-SXM4-40GB", MemoryBytes: 40 << 30, State: gpu.StateFree, Links: []gpu.Link{{Peer: peer, Lanes: 12}},
		})
	}
	m.config.GPUs, m.config.GPUSpecs = p, "/run/specs"
	m.touch = func(t drivers.Task) {
		id, _ := runOfTask(t.ID)
		asks := locked(m.cluster, func() bool { return m.cluster.orders[id].GetSpec().GetGpu() != nil })
		if asks && p.locked(func() bool { return p.held[t.ID] == nil }) {
			m.t.Errorf("%s is started without its GPU", t.ID)
		}
	}
	return p
}

func (p *rack) locked(ask func() bool) bool { p.mu.Lock(); defer p.mu.Unlock(); return ask() }
func (p *rack) count(n *int) int            { p.mu.Lock(); defer p.mu.Unlock(); return *n }

// hang makes the provider answer nothing until the function that it returns is called.
func (p *rack) hang() (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	silent := make(chan struct{})
	p.silent = silent
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.silent = nil
		close(silent)
	}
}

// answers waits where the provider hangs.
func (p *rack) answers(ctx context.Context, method string) error {
	p.mu.Lock()
	p.asked[method]++
	silent, err := p.silent, p.fails[method]
	if p.stuck == method {
		silent = make(chan struct{})
	}
	p.mu.Unlock()
	if silent == nil {
		return err
	}
	select {
	case <-silent:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *rack) Inventory(ctx context.Context) (gpu.Inventory, error) {
	if err := p.answers(ctx, "Inventory"); err != nil {
		return gpu.Inventory{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := gpu.Inventory{ProtocolVersion: gpu.ProtocolVersion, Missing: []string{"nvmlNew"}}
	for i, d := range p.devices {
		for task, has := range p.held {
			if slices.Contains(has, i) {
				d.Tasks = append(d.Tasks, task)
			}
		}
		if len(d.Tasks) > 0 && d.State == gpu.StateFree {
			d.State = gpu.StateWhole
		}
		all.Devices = append(all.Devices, d)
	}
	return all, nil
}

func (p *rack) Allocate(ctx context.Context, r gpu.Request) (gpu.Grant, error) {
	if err := p.answers(ctx, "Allocate"); err != nil {
		return gpu.Grant{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done[r.Task] {
		return gpu.Grant{}, fmt.Errorf("%w: it was released", drivers.ErrInvalid)
	}
	if p.held[r.Task] == nil {
		var free []int
		for i, d := range p.devices {
			taken := false
			for _, has := range p.held {
				taken = taken || slices.Contains(has, i)
			}
			if !taken && d.State == gpu.StateFree && gpu.Matches(d.Model, r.Model) {
				free = append(free, i)
			}
		}
		if len(free) < r.Count {
			return gpu.Grant{}, gpu.ErrNoRoom
		}
		p.held[r.Task] = free[:r.Count]
		p.allocated++
	}
	g := gpu.Grant{Task: r.Task, Kind: r.Kind, CDI: []string{"coinop/gpu=" + r.Task}, Env: []string{"CUDA_VISIBLE_DEVICES=" + p.devices[p.held[r.Task][0]].ID}}
	for _, i := range p.held[r.Task] {
		g.Devices = append(g.Devices, gpu.Granted{Device: p.devices[i].ID, Model: p.devices[i].Model, Visible: p.devices[i].ID})
	}
	return g, nil
}

func (p *rack) Release(ctx context.Context, task string) (gpu.Usage, error) {
	if err := p.answers(ctx, "Release"); err != nil {
		return gpu.Usage{}, err
	}
	if runs(p.machine.driver, task) {
		p.machine.t.Errorf("%s runs, and its GPU is given back", task)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[task] == nil && !p.done[task] {
		return gpu.Usage{}, drivers.ErrNoTask
	}
	delete(p.held, task)
	p.done[task] = true
	return gpu.Usage{EnergyMillijoules: 1234, EnergyBasis: "the GPU", Utilisation: 500, MemoryPeakBytes: 1 << 30, Released: true}, nil
}

// Usage tells of each task that has GPUs that it has used more than when it was last told.
func (p *rack) Usage(ctx context.Context) (map[string]gpu.Usage, error) {
	if err := p.answers(ctx, "Usage"); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]gpu.Usage{}
	for task, has := range p.held {
		all[task] = gpu.Usage{
			EnergyMillijoules: int64(1000 * p.asked["Usage"]), EnergyBasis: "the GPU", Utilisation: 300, MemoryBytes: int64(len(has)) << 30,
			MemoryPeakBytes: 5 << 30, Processes: make([]gpu.Process, 2), ProcessesPeak: 3,
		}
	}
	return all, nil
}

func (p *rack) Watch(ctx context.Context) (<-chan gpu.Event, error) {
	if err := p.answers(ctx, "Watch"); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	events := make(chan gpu.Event, 16)
	for i, d := range p.devices {
		if d.State == gpu.StateSick {
			events <- gpu.Event{Device: d.ID, Sick: true, Reason: d.Reason, Tasks: p.on(i)}
		}
	}
	p.watchers[events] = struct{}{}
	context.AfterFunc(ctx, func() { p.mu.Lock(); defer p.mu.Unlock(); p.drop(events) })
	return events, nil
}

// on names the tasks that have a GPU. The caller holds mu.
func (p *rack) on(i int) (tasks []string) {
	for task, has := range p.held {
		if slices.Contains(has, i) {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

func (p *rack) drop(events chan gpu.Event) {
	if _, ok := p.watchers[events]; ok {
		delete(p.watchers, events)
		close(events)
	}
}

// breakOff ends all streams of events, as a provider that crashes.
func (p *rack) breakOff() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for events := range p.watchers {
		p.drop(events)
	}
}

// sicken has a GPU fail; told says whether there is an event.
func (p *rack) sicken(i int, reason string, told bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.devices[i].State, p.devices[i].Reason = gpu.StateSick, reason
	for events := range p.watchers {
		if told {
			events <- gpu.Event{Device: p.devices[i].ID, Sick: true, XID: 79, Reason: reason, Tasks: p.on(i)}
		}
	}
}

func (p *rack) tell(event gpu.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for events := range p.watchers {
		events <- event
	}
}

// nothingHeld fails the test if a task still has a GPU.
func (p *rack) nothingHeld(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) > 0 {
		t.Errorf("GPUs are still held: %v", p.held)
	}
}

// runs says whether the driver has a task that has not ended.
func runs(d drivers.Driver, task string) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	news, err := d.Watch(ctx, task)
	if err != nil {
		return false
	}
	status, ok := <-news
	return ok && !status.State.Final()
}

// onGPUs is an order to run a command with so many GPUs.
func onGPUs(run uint64, count int32, argv ...string) *wire.Order {
	o := running(run, argv...)
	o.Spec.Gpu = &wire.GPURequest{Kind: wire.GPUKind_GPU_KIND_WHOLE, Count: count, Model: "a100"}
	return o
}

// onRack plays a story on a machine with GPUs.
func onRack(t *testing.T, story func(m *machine, p *rack)) {
	t.Helper()
	var p *rack
	onMachineWith(t, func(m *machine) { p = newRack(m) }, func(m *machine) { story(m, p) })
}
