package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/testbed/sim"
)

// deaf never tells of a run's placement.
type deaf struct{ *machine.Machine }

func (d deaf) Apply(index uint64, entry []byte) machine.Result {
	r := d.Machine.Apply(index, entry)
	for i, e := range r.Events {
		if e.Kind == machine.EventPlaced {
			r.Events = append(r.Events[:i:i], r.Events[i+1:]...)
			break
		}
	}
	return r
}

func TestItGoesOnAfterALifeThatFailsAndListsThemAll(t *testing.T) {
	var out strings.Builder
	p := plan{first: 5, seeds: 3, entries: 2000, workers: 2, every: time.Hour, replica: func() sim.Replica { return deaf{machine.New()} }}
	err := p.live(t.Context(), &out)
	if err == nil || err.Error() != "3 of 3 lives failed" {
		t.Errorf("it ended with: %v", err)
	}
	for _, want := range []string{"sim: 3 seeds x 2000 entries", "3 lives FAILED", "sim: seed 5,", "sim: seed 6,", "sim: seed 7,", "again: go run ./testbed/sim/cmd -seed 6 -entries "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}

func TestItEndsWhenItsTimeIsUpOrItIsStoppedAndSumsUp(t *testing.T) {
	var out strings.Builder
	p := plan{first: 77, seeds: 1 << 30, entries: 200, workers: 2, limit: time.Second, every: 100 * time.Millisecond}
	if err := p.live(t.Context(), &out); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	p.limit, p.entries = 0, 1<<30
	if err := p.live(ctx, &out); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"seeds from 77 on for 1s", "lives ended", "all invariants hold", "sim: 0 seeds x 1073741824 entries"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}
