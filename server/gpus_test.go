package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/scheduler"
)

// What is alike is one row; what is sick is one by itself, with its reason.
func TestCardsThatAreAlikeAreOneRow(t *testing.T) {
	card := func(id string, island int32, change func(*wire.Card)) *wire.Card {
		c := &wire.Card{Id: id, Model: "a100-sxm4-80gb", MemoryBytes: 80 << 30, Island: island, Mig: true, Profiles: []*wire.MIGProfile{
			{Name: "1g.10gb", Slices: 1, MemoryBytes: 9 << 30, Max: 7}, {Name: "1g.10gb+me", Slices: 1, MemoryBytes: 9 << 30, Max: 1},
		}}
		if change != nil {
			change(c)
		}
		return c
	}
	got := cardsOf([]*wire.Card{
		card("1", 1, nil), card("2", 1, nil), card("3", 2, nil), card("4", 1, func(c *wire.Card) { c.Sick, c.Reason = true, "XID 79" }),
		card("5", 1, nil), card("6", 1, func(c *wire.Card) { c.SlicesOnly = true }), card("7", 0, func(c *wire.Card) { c.Model, c.Profiles = "H 100", nil }),
	})
	slice := []scheduler.Profile{{Name: "1g.10gb", Slices: 1, Memory: 9 << 30, Max: 7}} // the other's name is none that can be asked for
	row := scheduler.Card{Count: 3, Model: "a100-sxm4-80gb", Memory: 80 << 30, Island: 1, MIG: true, Profiles: slice}
	second, sick, cut, odd := row, row, row, row
	second.Count, second.Island = 1, 2
	sick.Count, sick.Sick, sick.Reason, sick.ID = 1, true, "XID 79", "4"
	cut.Count, cut.SlicesOnly = 1, true
	odd.Count, odd.Model, odd.Island, odd.Profiles = 1, "gpu", 0, nil
	if diff := cmp.Diff([]scheduler.Card{row, second, sick, cut, odd}, got); diff != "" {
		t.Error(diff)
	}
	if err := scheduler.ValidateCards(got); err != nil {
		t.Errorf("the state would refuse them: %v", err)
	}
}

func TestWhatATaskAsksItsMachineFor(t *testing.T) {
	for name, c := range map[string]struct {
		shape scheduler.Shape
		want  *wire.GPURequest
	}{
		"nothing": {scheduler.Shape{Need: scheduler.Resources{CPUMilli: 1000}}, nil},
		"any two": {scheduler.Shape{Need: scheduler.Resources{GPUs: 2}}, &wire.GPURequest{Kind: wire.GPUKind_GPU_KIND_WHOLE, Count: 2}},
		"a model, joined": {
			scheduler.Shape{Need: scheduler.Resources{GPUs: 2}, GPU: scheduler.GPURequest{Model: "a100", Memory: 5, NVLink: true}},
			&wire.GPURequest{Kind: wire.GPUKind_GPU_KIND_WHOLE, Count: 2, Model: "a100", MemoryBytes: 5, Nvlink: true},
		},
		"a slice": {
			scheduler.Shape{GPU: scheduler.GPURequest{Kind: scheduler.GPUSlice, Profile: "1g.10gb"}},
			&wire.GPURequest{Kind: wire.GPUKind_GPU_KIND_SLICE, Count: 1, Profile: "1g.10gb"},
		},
		"a share": {
			scheduler.Shape{GPU: scheduler.GPURequest{Kind: scheduler.GPUShare, Model: "l40"}},
			&wire.GPURequest{Kind: wire.GPUKind_GPU_KIND_SHARE, Count: 1, Model: "l40"},
		},
	} {
		if diff := cmp.Diff(c.want, gpuRequest(&c.shape), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWhatARunUsedOfGPUs(t *testing.T) {
	run := &scheduler.Run{ID: 1, Placed: 100, Start: 200, State: scheduler.RunRunning}
	ran := int64(50)
	report, _ := translate(run, &wire.RunStatus{State: wire.RunState_RUN_STATE_ENDED, RanMs: &ran, End: &wire.End{
		Cause: wire.Cause_CAUSE_EXITED,
		Gpu:   &wire.GPUUsage{EnergyMillijoules: 700, Basis: "the GPU", UtilisationMilli: 500, MemoryPeakBytes: 9, Devices: []string{"l40"}, ProcessesPeak: 3},
	}}, 1000)
	want := &scheduler.GPUUsage{Millijoules: 700, Basis: "the GPU", Utilisation: 500, PeakBytes: 9, Devices: []string{"l40"}, Processes: 3}
	if diff := cmp.Diff(want, report.Ended.GPU); diff != "" {
		t.Error(diff)
	}
	if u := gpuUsage(&wire.GPUUsage{UtilisationMilli: 2000}); u != nil {
		t.Errorf("%+v: the entry would be refused, and said again for ever", u)
	}
	// What had started had its GPUs.
	report, _ = translate(run, &wire.RunStatus{State: wire.RunState_RUN_STATE_ENDED, RanMs: &ran, End: &wire.End{Cause: wire.Cause_CAUSE_NO_ROOM}}, 1000)
	if report.Ended.Reason != scheduler.ReasonFault || !report.Ended.Fault {
		t.Errorf("%+v", report.Ended)
	}
}
