package cli

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
)

func TestWeightsThatAreNamedChangeAndOthersStay(t *testing.T) {
	old := client.Weights{CPU: 1000, Memory: 250, GPU: 8000, GPUKinds: map[string]int64{"l40": 9000, "t4": 4000}}
	w, err := weightFlags{[]string{"disk=10", "gpu/A100=20000", "gpu/a100/1g.10gb=3000", "gpu/t4=none"}}.over(old)
	if err != nil || w.CPU != 1000 || w.Disk != 10 || !maps.Equal(w.GPUKinds, map[string]int64{"l40": 9000, "a100": 20_000, "a100/1g.10gb": 3000}) {
		t.Errorf("%+v, %v", w, err)
	}
	if len(old.GPUKinds) != 2 {
		t.Error("what was there before has changed")
	}
	for _, bad := range []string{"cpu", "cpu=", "cpu=-1", "cpu=1.5", "gpus=1", "gpu/=1", "=1", "cpu=none"} {
		if _, err := (weightFlags{[]string{bad}}).over(old); err == nil || !strings.Contains(err.Error(), "--weight") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestGPUsAreShown(t *testing.T) {
	joules, busy := 1.5, 0.25
	var out bytes.Buffer
	a := &app{out: &out}
	a.printCards(client.Node{Node: "g1", Cards: []client.Card{
		{Model: "a100-sxm4-80gb", Count: 4, Free: 1, MemoryBytes: 80 << 30, Island: 1, Slices: 28, SlicesUsed: 3, Profiles: []string{"1g.10gb"}, State: "ok"},
		{Model: "l40", Count: 1, MemoryBytes: 48 << 30, State: "sick", Reason: "XID 79", ID: "GPU-5"},
	}})
	a.printGPUUsage(&client.GPUUsage{Devices: []string{"a100-sxm4-80gb 1g.10gb"}, EnergyJoules: &joules, EnergyBasis: "1/7 of the GPU", Utilisation: &busy, MemoryPeakBytes: 2 << 30})
	a.printGPUUsage(&client.GPUUsage{Devices: []string{"l40"}})
	a.printGPUUsage(nil)
	used := &client.GPUUsage{Devices: []string{"l40"}, EnergyJoules: &joules, EnergyBasis: "the GPU", MemoryBytes: 1 << 30, MemoryPeakBytes: 3 << 30, Processes: 1, ProcessesPeak: 2}
	ended := time.Now()
	a.printGPUsOf([]client.Run{{Run: 7, GPU: used}, {Run: 8}, {Run: 9, GPU: used, Ended: &ended}})
	for _, want := range []string{"3/4", "3/28", "1g.10gb", "XID 79 GPU-5",
		"used a100-sxm4-80gb 1g.10gb; busy 25 % of the time; at most 2 GiB of their memory; 1.5 J (1/7 of the GPU)\nused l40; at most 0 B of their memory\n",
		"run 7 is on l40; at most 3 GiB of their memory; at most 2 processes; 1.5 J (the GPU); now 1 GiB of their memory, 1 process\n" +
			"run 9 used l40; at most 3 GiB of their memory; at most 2 processes; 1.5 J (the GPU)\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	for want, j := range map[string]client.Job{
		"": {}, ", 2 GPUs": {GPUs: 2}, ", 2 × a100 with 40 GiB, NVLink": {GPUs: 2, GPUKind: "a100", GPUMemoryBytes: 40 << 30, NVLink: true},
	} {
		if got := gpuRequest(j); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
