//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers/gpu"
	gpuplugin "github.com/coinop/coinop/drivers/gpu/plugin"
	"github.com/coinop/coinop/drivers/plugin/keep"
	"github.com/coinop/coinop/testbed/cluster"
	"github.com/coinop/coinop/testbed/nvml"
)

// The binary as an executor starts it: a slice is made, outlives the provider's kill -9 and is destroyed; a GPU that is lost under a
// task is told and not handed out again.
func TestTheBinaryProvidesGPUs(t *testing.T) {
	machine, err := nvml.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "plugin")
	command := []string{binary, "plugin", "gpu", "--dir", t.TempDir(), "--library", machine.Library(), "--root", machine.Root(), "--mig", "--shares", "2", "--persistence", "on"}
	client, err := gpuplugin.New(keep.Config{Dir: dir, Command: command, Env: []string{"PATH=" + os.Getenv("PATH")}, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	ran := make(chan error, 1)
	go func() { ran <- client.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()
	slice := gpu.Request{Task: "slice", Kind: gpu.Slice, Profile: "2g.10gb"}
	first, err := client.Allocate(ctx, slice)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := machine.Instances(0); err != nil || n != 1 {
		t.Errorf("%d MIG instances, %v", n, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "plugin.json"))
	if err != nil {
		t.Fatal(err)
	}
	var note struct{ Pid int }
	if err := json.Unmarshal(data, &note); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(note.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if again, err := client.Allocate(ctx, slice); err != nil || again.Devices[0] != first.Devices[0] {
		t.Errorf("first %+v, then %+v, %v", first, again, err)
	}
	if _, err := client.Release(ctx, "slice"); err != nil {
		t.Error(err)
	}
	if n, err := machine.Instances(0); err != nil || n != 0 {
		t.Errorf("after the release %d MIG instances, %v", n, err)
	}

	whole := gpu.Request{Task: "whole", Model: "L4", Count: 4}
	if _, err := client.Allocate(ctx, whole); err != nil {
		t.Fatal(err)
	}
	events, err := client.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := machine.Set(5, "lost", 1); err != nil {
		t.Fatal(err)
	}
	if e := <-events; !e.Sick || e.Device != nvml.UUID(5) || strings.Join(e.Tasks, " ") != "whole" {
		t.Errorf("the event is %+v", e)
	}
	if _, err := client.Release(ctx, "whole"); err != nil {
		t.Error(err)
	}
	whole.Task, whole.Count = "next", 3
	if g, err := client.Allocate(ctx, whole); err != nil || strings.Contains(strings.Join(g.Env, " "), nvml.UUID(5)) {
		t.Errorf("allocate: %+v, %v", g, err)
	}
}

// Some compilers have the dynamic linker bind every function when a program starts; ours must start there too.
func TestTheBinaryBindsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coinop")
	if err := cluster.Build(t.Context(), "../..", path, "-ldflags", "-extldflags=-Wl,-z,now"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "version").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
