package plugin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/drivers/gpu/gputest"
	"github.com/coinop/coinop/drivers/gpu/nvml"
	"github.com/coinop/coinop/drivers/gpu/plugin"
	"github.com/coinop/coinop/drivers/plugin/keep"
	fake "github.com/coinop/coinop/testbed/nvml"
)

// role is the variable by which a plugin of these tests hears how it is configured.
const role = "GPU_PLUGIN_TEST"

// TestMain plays the plugin too.
func TestMain(m *testing.M) {
	if !keep.Asked() {
		os.Exit(m.Run())
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	var config nvml.Config
	err := json.Unmarshal([]byte(os.Getenv(role)), &config)
	if err == nil {
		config.Log = log
		var p *nvml.Provider
		if p, err = nvml.New(config); err == nil {
			err = plugin.Serve(plugin.ServeConfig{Provider: p, Log: log, Idle: time.Minute})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// start runs a plugin with its client. dir is where it is noted.
func start(t testing.TB, config nvml.Config) (client *plugin.Client, dir string, end func()) {
	t.Helper()
	return startAs(t, keep.Config{}, config)
}

func startAs(t testing.TB, as keep.Config, config nvml.Config) (client *plugin.Client, dir string, end func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	config.Every = 20 * time.Millisecond
	told, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "plugin")
	as.Dir, as.Command, as.Env = dir, []string{self}, []string{role + "=" + string(told)}
	client, err = plugin.New(as)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- client.Run(ctx) }()
	return client, dir, func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}
}

// pid is the plugin's, as noted for the next agent; 0 while there is none.
func pid(dir string) int {
	data, err := os.ReadFile(filepath.Join(dir, "plugin.json"))
	var note struct{ Pid int }
	if err != nil || json.Unmarshal(data, &note) != nil {
		return 0
	}
	return note.Pid
}

// kill ends the plugin by SIGKILL and waits for the next one.
func kill(ctx context.Context, client *plugin.Client, dir string) error {
	before := pid(dir)
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		return err
	}
	for now := before; now == before || now == 0; now = pid(dir) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("no other plugin was started")
		}
	}
	_, err := client.Inventory(ctx)
	return err
}

func build(t *testing.T, without ...string) *fake.Machine {
	t.Helper()
	machine, err := fake.New(t.TempDir(), without...)
	if err != nil {
		t.Fatal(err)
	}
	return machine
}

// The provider keeps every promise through a socket, also when its process is killed in between.
func TestProviderAsPlugin(t *testing.T) {
	machine := build(t)
	gputest.Run(t, gputest.Harness{Machine: machine, Open: func(s gputest.Setting) (gpu.Provider, func() (gpu.Provider, error), func(), error) {
		client, dir, end := start(t, nvml.Config{
			Dir: t.TempDir(), Library: machine.Library(), Root: machine.Root(), MIG: s.MIG, Shares: s.Shares, Settings: s.Settings,
		})
		restart := func() (gpu.Provider, error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return client, kill(ctx, client, dir)
		}
		_, err := client.Inventory(context.Background())
		return client, restart, end, err
	}})
}

func inventory(t *testing.T, config nvml.Config) (gpu.Inventory, *plugin.Client) {
	t.Helper()
	config.Dir = t.TempDir()
	client, _, end := start(t, config)
	t.Cleanup(end)
	i, err := client.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return i, client
}

// An old library offers what it can, and says what it lacks; nothing that it lacks ends the process.
func TestOldLibrary(t *testing.T) {
	machine := build(t, "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetMigMode", "nvmlDeviceSetMigMode", "nvmlDeviceGetGpuInstanceProfileInfo",
		"nvmlDeviceGetRemappedRows", "nvmlDeviceGetMemoryAffinity", "nvmlEventSetCreate", "nvmlDeviceGetUtilizationRates", "nvmlErrorString",
		"nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v3", "nvmlDeviceSetPersistenceMode")
	i, client := inventory(t, nvml.Config{Library: machine.Library(), Root: machine.Root(), MIG: true})
	missing := strings.Join(i.Missing, " ")
	if len(i.Devices) != 8 || i.Devices[0].MIG.Capable || i.Devices[0].NUMA != -1 || i.Devices[0].State != gpu.StateFree ||
		!strings.Contains(missing, "nvmlDeviceGetTotalEnergyConsumption") || !strings.Contains(missing, "nvmlEventSetCreate") {
		t.Errorf("the inventory is %+v", i)
	}
	if _, err := client.Allocate(t.Context(), gpu.Request{Task: "t", Model: "L4"}); err != nil {
		t.Error(err)
	}
	if _, err := client.Allocate(t.Context(), gpu.Request{Task: "s", Kind: gpu.Slice}); !errors.Is(err, gpu.ErrNone) {
		t.Errorf("a slice: %v", err)
	}
	u, err := client.Release(t.Context(), "t")
	if err != nil || u.EnergyBasis != "" || u.Utilisation != -1 {
		t.Errorf("release: %+v, %v", u, err)
	}
	_, client = inventory(t, nvml.Config{Library: machine.Library(), Root: machine.Root(), Settings: gpu.Settings{Persistence: "on"}})
	if _, err := client.Allocate(t.Context(), gpu.Request{Task: "t"}); err == nil || !strings.Contains(err.Error(), "persistence") || !strings.Contains(err.Error(), "too old") {
		t.Errorf("with a setting that it cannot make: %v", err)
	}
}

// Without a library that works there are no GPUs, and words that help.
func TestNoLibrary(t *testing.T) {
	notNVML := filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
	if out, err := exec.Command("gcc", "-shared", "-x", "c", "-o", notNVML, "/dev/null").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	broken := filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
	if err := os.WriteFile(broken, []byte("not even ELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	unloaded, mismatch := build(t), build(t)
	if err := errors.Join(unloaded.Fail("nvmlInit_v2", 9), mismatch.Fail("nvmlInit_v2", 18)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ library, words string }{
		"absent":             {"/nowhere/libnvidia-ml.so.1", "libnvidia-ml1"},
		"no library":         {broken, "load NVIDIA's library"},
		"something else":     {notNVML, "too old: it has no nvmlInit_v2"},
		"too old":            {build(t, "nvmlDeviceGetComputeRunningProcesses_v3").Library(), "too old: it has no nvmlDeviceGetComputeRunningProcesses_v3"},
		"driver not loaded":  {unloaded.Library(), "modprobe nvidia"},
		"driver another one": {mismatch.Library(), "reboot"},
	} {
		i, client := inventory(t, nvml.Config{Library: test.library})
		if len(i.Devices) != 0 || !strings.Contains(i.Note, test.words) || !strings.HasPrefix(i.Note, "no GPUs: ") {
			t.Errorf("%s: the inventory is %+v, want %q", name, i, test.words)
		}
		if _, err := client.Allocate(t.Context(), gpu.Request{Task: "t"}); !errors.Is(err, gpu.ErrNone) || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: allocate: %v", name, err)
		}
	}
}

// A library that ends the process at every call leaves the caller with an error, not dead and not waiting.
func TestLibraryThatKills(t *testing.T) {
	source := filepath.Join(t.TempDir(), "kill.c")
	if err := os.WriteFile(source, []byte("#include <stdlib.h>\nint nvmlInit_v2(void) { abort(); }\n"+
		"void nvmlDeviceGetCount_v2(void) {} void nvmlDeviceGetHandleByIndex_v2(void) {} void nvmlDeviceGetUUID(void) {} void nvmlDeviceGetName(void) {}\n"+
		"void nvmlDeviceGetMemoryInfo(void) {} void nvmlDeviceGetComputeRunningProcesses_v3(void) {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	client, _, end := start(t, nvml.Config{Dir: t.TempDir(), Library: library})
	defer end()
	if i, err := client.Inventory(t.Context()); err == nil {
		t.Errorf("the inventory is %+v", i)
	}
}
