package nvml_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/drivers/gpu/gputest"
	"github.com/coinop/coinop/drivers/gpu/nvml"
	fake "github.com/coinop/coinop/testbed/nvml"
)

// machine is the one of all tests here, since a process loads one library.
var machine *fake.Machine

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "nvml-test-")
	if err == nil {
		machine, err = fake.New(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// inProcess opens providers in this process. One that is restarted was not told: it ends without a last word.
func inProcess(t testing.TB) gputest.Harness {
	return gputest.Harness{Machine: machine, Open: func(s gputest.Setting) (gpu.Provider, func() (gpu.Provider, error), func(), error) {
		config := nvml.Config{
			Dir: t.TempDir(), Library: machine.Library(), Root: machine.Root(),
			MIG: s.MIG, Shares: s.Shares, Settings: s.Settings, Every: 20 * time.Millisecond,
		}
		end := func() {}
		start := func() (gpu.Provider, error) {
			end()
			p, stop, err := run(t, config)
			end = stop
			return p, err
		}
		p, err := start()
		return p, start, func() { end() }, err
	}}
}

func run(t testing.TB, config nvml.Config) (*nvml.Provider, func(), error) {
	p, err := nvml.New(config)
	if err != nil {
		return nil, func() {}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	return p, func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}, nil
}

func TestProvider(t *testing.T) { gputest.Run(t, inProcess(t)) }

// twice forgets who asked; cheap tells half the energy; deaf hears nothing of its GPUs.
type twice struct {
	gpu.Provider
	calls int
}

func (f *twice) Allocate(ctx context.Context, r gpu.Request) (gpu.Grant, error) {
	f.calls++
	r.Task = fmt.Sprintf("%s-%d", r.Task, f.calls)
	return f.Provider.Allocate(ctx, r)
}

type cheap struct{ gpu.Provider }

func (f cheap) Usage(ctx context.Context) (map[string]gpu.Usage, error) {
	all, err := f.Provider.Usage(ctx)
	for task, u := range all {
		u.EnergyMillijoules /= 2
		all[task] = u
	}
	return all, err
}

func (f cheap) Release(ctx context.Context, task string) (gpu.Usage, error) {
	u, err := f.Provider.Release(ctx, task)
	u.EnergyMillijoules /= 2
	return u, err
}

type deaf struct{ gpu.Provider }

func (f deaf) Watch(context.Context) (<-chan gpu.Event, error) { return nil, nil }

type loose struct{ gpu.Provider }

func (f loose) Allocate(ctx context.Context, r gpu.Request) (gpu.Grant, error) {
	r.NVLink = false
	return f.Provider.Allocate(ctx, r)
}

// filthy says that a GPU which is being cleaned is free.
type filthy struct{ gpu.Provider }

func (f filthy) Inventory(ctx context.Context) (gpu.Inventory, error) {
	i, err := f.Provider.Inventory(ctx)
	for n := range i.Devices {
		if i.Devices[n].State == gpu.StateCleaning {
			i.Devices[n].State = gpu.StateFree
		}
	}
	return i, err
}

func TestTheSuiteBites(t *testing.T) {
	for name, fault := range map[string]struct {
		wrap  func(gpu.Provider) gpu.Provider
		check string
	}{
		"twice":  {func(p gpu.Provider) gpu.Provider { return &twice{Provider: p} }, "the same task gets the same again, and nothing once it was released"},
		"cheap":  {func(p gpu.Provider) gpu.Provider { return cheap{p} }, "sharers bear equal parts of the energy"},
		"cheap ": {func(p gpu.Provider) gpu.Provider { return cheap{p} }, "a slice bears its part of the energy"},
		"deaf":   {func(p gpu.Provider) gpu.Provider { return deaf{p} }, "a GPU with XID 79 is drained"},
		"loose":  {func(p gpu.Provider) gpu.Provider { return loose{p} }, "pairs are handed out as pairs"},
		"filthy": {func(p gpu.Provider) gpu.Provider { return filthy{p} }, "a GPU is clean before it is sold again"},
	} {
		h := inProcess(t)
		h.Timeout = 3 * time.Second
		open := h.Open
		h.Open = func(s gputest.Setting) (gpu.Provider, func() (gpu.Provider, error), func(), error) {
			p, restart, end, err := open(s)
			again := func() (gpu.Provider, error) {
				p, err := restart()
				return fault.wrap(p), err
			}
			return fault.wrap(p), again, end, err
		}
		if failing := gputest.Failing(t.Context(), h, fault.check); len(failing) != 1 {
			t.Errorf("a provider that is %s passes %q", name, fault.check)
		}
	}
	h := inProcess(t)
	open := h.Open
	h.Open = func(s gputest.Setting) (gpu.Provider, func() (gpu.Provider, error), func(), error) {
		p, _, end, err := open(s)
		_, again, endAgain, _ := open(s) // another folder: it forgets all
		return p, again, func() { end(); endAgain() }, err
	}
	forgetful := []string{"what is held outlives the provider", "a slice outlives the provider", "a task's energy is its GPUs', across restarts"}
	if failing := gputest.Failing(t.Context(), h, forgetful...); len(failing) != len(forgetful) {
		t.Errorf("a provider that forgets fails only %q", failing)
	}
}

// fresh makes the machine new and starts a provider on a folder of its own.
func fresh(t *testing.T, change func(*nvml.Config)) (*nvml.Provider, nvml.Config, func()) {
	t.Helper()
	if err := machine.Reset(); err != nil {
		t.Fatal(err)
	}
	config := nvml.Config{Dir: t.TempDir(), Library: machine.Library(), Root: machine.Root(), MIG: true, Every: 10 * time.Millisecond}
	if change != nil {
		change(&config)
	}
	p, end, err := run(t, config)
	if err != nil {
		t.Fatal(err)
	}
	return p, config, end
}

// edit changes a task's record while no provider runs.
func edit(t *testing.T, config nvml.Config, task string, change func(map[string]any)) {
	t.Helper()
	path := filepath.Join(config.Dir, "tasks", task)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal(data, &record); err != nil {
		t.Fatal(err)
	}
	change(record)
	if data, err = json.Marshal(record); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func instances(t *testing.T, want int) {
	t.Helper()
	n, err := machine.Instances(0)
	if err != nil || n != want {
		t.Errorf("GPU 0 has %d MIG instances, want %d (%v)", n, want, err)
	}
}

func mustSlice(t *testing.T, p *nvml.Provider) gpu.Grant {
	t.Helper()
	g, err := p.Allocate(t.Context(), gpu.Request{Task: "t", Kind: gpu.Slice, Profile: "1g.5gb"})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A provider killed between the slice and its record takes it back at its next start.
func TestKilledWhileASliceWasMade(t *testing.T) {
	p, config, end := fresh(t, nil)
	mustSlice(t, p)
	instances(t, 1)
	end()
	edit(t, config, "t", func(r map[string]any) { r["Phase"] = "making" })
	p, end, err := run(t, config)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	instances(t, 0)
	mustSlice(t, p)
}

func TestRecordsOfAnEarlierBootAreForgotten(t *testing.T) {
	p, config, end := fresh(t, nil)
	if _, err := p.Allocate(t.Context(), gpu.Request{Task: "t"}); err != nil {
		t.Fatal(err)
	}
	end()
	edit(t, config, "t", func(r map[string]any) { r["Boot"] = "another" })
	p, end, err := run(t, config)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if all, err := p.Usage(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("usage: %v, %v", all, err)
	}
	left, err := filepath.Glob(filepath.Join(config.Dir, "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("there still is %q, %v", left, err)
	}
}

func TestReleasedTasksAreForgotten(t *testing.T) {
	p, config, end := fresh(t, nil)
	if _, err := p.Allocate(t.Context(), gpu.Request{Task: "t"}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Release(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	end()
	edit(t, config, "t", func(r map[string]any) { r["Released"] = time.Now().Add(-2 * time.Hour) })
	p, end, err := run(t, config)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if _, err := p.Release(t.Context(), "t"); !errors.Is(err, drivers.ErrNoTask) {
		t.Errorf("release: %v", err)
	}
}

func TestDamagedRecordIsNamed(t *testing.T) {
	_, config, end := fresh(t, nil)
	end()
	path := filepath.Join(config.Dir, "tasks", "t")
	if err := os.WriteFile(path, []byte(`{"Boot":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := nvml.New(config); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("new: %v", err)
	}
}

// Somebody's nvidia-smi destroyed a task's slice: whoever watches hears of it.
func TestSliceDestroyedByOthers(t *testing.T) {
	p, config, end := fresh(t, nil)
	g := mustSlice(t, p)
	end()
	for id := range 15 {
		if value, err := machine.Get(0, fmt.Sprintf("instance%d", id)); err != nil {
			t.Fatal(err)
		} else if value != "" {
			if err := machine.Set(0, fmt.Sprintf("instance%d", id), ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	p, end, err := run(t, config)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	events, err := p.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := <-events
	if e.Device != g.Devices[0].Device || e.Sick || !slices.Equal(e.Tasks, []string{"t"}) || !strings.Contains(e.Reason, "destroyed") {
		t.Errorf("the event is %+v", e)
	}
	if u, err := p.Release(t.Context(), "t"); err != nil || !u.Released {
		t.Errorf("release: %+v, %v", u, err)
	}
}

// Whoever has reset a GPU removes its file, and it is used again.
func TestSickGPUIsTakenBack(t *testing.T) {
	p, config, end := fresh(t, nil)
	defer end()
	events, err := p.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := machine.Set(6, "retired.pending", 1); err != nil {
		t.Fatal(err)
	}
	if e := <-events; !e.Sick || e.Device != fake.UUID(6) {
		t.Fatalf("the event is %+v", e)
	}
	if err := machine.Set(6, "retired.pending", 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(config.Dir, "sick", fake.UUID(6))); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Sick || e.Device != fake.UUID(6) {
		t.Fatalf("the event is %+v", e)
	}
	if _, err := p.Allocate(t.Context(), gpu.Request{Task: "t", Model: "L4", Count: 4}); err != nil {
		t.Error(err)
	}
}

func TestCDISpec(t *testing.T) {
	p, config, end := fresh(t, func(c *nvml.Config) { c.Shares = 2 })
	defer end()
	root := machine.Root()
	libraries := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	if err := os.MkdirAll(libraries, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(filepath.Join(root, "usr"))
	for name, target := range map[string]string{"libcuda.so.550.54.15": "", "libcuda.so.1": "libcuda.so.550.54.15", "libz.so.1.2": "", "libz.so.1": "libz.so.1.2"} {
		err := os.Symlink(target, filepath.Join(libraries, name))
		if target == "" {
			err = os.WriteFile(filepath.Join(libraries, name), nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	g := mustSlice(t, p)
	path := filepath.Join(config.Dir, "cdi", "coinop-gpu-t.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	node := func(path string) string {
		return fmt.Sprintf(`{"path":%q,"hostPath":%q}`, path, root+path)
	}
	mount := func(path string) string {
		return fmt.Sprintf(`{"hostPath":%q,"containerPath":%q,"options":["ro","nosuid","nodev","rbind"]}`, root+path, path)
	}
	// The first instance of one slice is number 7: capabilities 66 and 67 of GPU 0, by the kernel's list.
	want := fmt.Sprintf(`{"cdiVersion":"0.5.0","kind":"coinop/gpu","devices":[{"name":"t","containerEdits":{"env":["CUDA_DEVICE_ORDER=PCI_BUS_ID","CUDA_VISIBLE_DEVICES=%s"],"deviceNodes":[%s,%s,%s,%s,%s],"mounts":[%s,%s]}}]}`,
		g.Devices[0].Visible, node("/dev/nvidia-caps/nvidia-cap66"), node("/dev/nvidia-caps/nvidia-cap67"),
		node("/dev/nvidia-uvm"), node("/dev/nvidia0"), node("/dev/nvidiactl"),
		mount("/usr/lib/x86_64-linux-gnu/libcuda.so.1"), mount("/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15"))
	if !bytes.Equal(data, []byte(want)) {
		t.Errorf("the spec is\n%s\nwant\n%s", data, want)
	}
	if !slices.Equal(g.CDI, []string{"coinop/gpu=t"}) {
		t.Errorf("the device is %q", g.CDI)
	}
	if _, err := p.Release(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the release: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for _, config := range []nvml.Config{
		{Dir: "relative"}, {Dir: "/tmp", Shares: -1}, {Dir: "/tmp", Settings: gpu.Settings{ComputeMode: "fast"}},
		{Dir: "/tmp", Settings: gpu.Settings{Persistence: "yes"}}, {Dir: "/tmp", Settings: gpu.Settings{PowerLimitWatts: -1}},
	} {
		if _, err := nvml.New(config); !errors.Is(err, drivers.ErrInvalid) {
			t.Errorf("%+v: %v", config, err)
		}
	}
}

// What a second library would do to the first one's GPUs nobody knows.
func TestOneLibraryAProcess(t *testing.T) {
	_, _, end := fresh(t, nil)
	defer end()
	p, err := nvml.New(nvml.Config{Dir: t.TempDir(), Library: "/lib/another.so"})
	if err != nil {
		t.Fatal(err)
	}
	i, err := p.Inventory(t.Context())
	if err != nil || len(i.Devices) != 0 || !strings.Contains(i.Note, "one is all") {
		t.Errorf("the inventory is %+v, %v", i, err)
	}
}

// What a killed provider half made cannot be destroyed yet: it is, later, and then the task may ask again.
func TestHalfMadeSliceThatIsInUse(t *testing.T) {
	p, config, end := fresh(t, nil)
	mustSlice(t, p)
	end()
	edit(t, config, "t", func(r map[string]any) { r["Phase"] = "making" })
	const inUse = 19
	if err := machine.Fail("nvmlComputeInstanceDestroy", inUse); err != nil {
		t.Fatal(err)
	}
	p, end, err := run(t, config)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	request := gpu.Request{Task: "t", Kind: gpu.Slice, Profile: "1g.5gb"}
	if g, err := p.Allocate(t.Context(), request); !errors.Is(err, gpu.ErrNoRoom) {
		t.Errorf("allocate: %+v, %v", g, err)
	}
	instances(t, 1)
	if err := machine.Fail("nvmlComputeInstanceDestroy", 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		if _, err = p.Allocate(ctx, request); !errors.Is(err, gpu.ErrNoRoom) || ctx.Err() != nil {
			break
		}
		<-time.After(5 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("allocate later: %v", err)
	}
	instances(t, 1)
}

// A release looks at the GPUs first: who asks after it hears why the task ended, however seldom they are looked at otherwise.
func TestReleaseLooksAtTheGPU(t *testing.T) {
	if err := machine.Reset(); err != nil {
		t.Fatal(err)
	}
	p, err := nvml.New(nvml.Config{Dir: t.TempDir(), Library: machine.Library(), Root: machine.Root(), MIG: true, Every: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	g, err := p.Allocate(t.Context(), gpu.Request{Task: "t", Model: "a100-sxm4"})
	if err != nil {
		t.Fatal(err)
	}
	i, err := p.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m := i.Devices[1].MIG; m.On || !m.OnDemand || len(m.Profiles) != 7 || m.Profiles[0].Name != "7g.40gb" || m.Profiles[0].Free != 1 || m.Profiles[6].Max != 1 && m.Profiles[6].Max != 7 {
		t.Errorf("a GPU to be cut on demand: %+v", m)
	}
	at := slices.IndexFunc(i.Devices, func(d gpu.Device) bool { return d.ID == g.Devices[0].Device })
	if err := machine.Set(at, "lost", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Release(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if i, err = p.Inventory(t.Context()); err != nil || i.Devices[at].State != gpu.StateSick {
		t.Errorf("after the release: %+v, %v", i.Devices[at], err)
	}
	if err := machine.Reset(); err != nil {
		t.Fatal(err)
	}
}
