package drivertest_test

import (
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/fake"
)

// What the suite says of moving is noticed when it is not so; where a task counts on only a driver of real programs can tell.
func TestSuiteBitesOnMoving(t *testing.T) {
	disks := fake.Config{Disk: true, Moves: "here"}
	for _, c := range []struct {
		fault  string
		check  string
		config fake.Config
		b      broken
	}{
		{"it begins anew", "a task goes on from nothing that is broken", disks, broken{task: func(t *drivers.Task) { t.From = "" }}},
		{"it exports whatever it is told", "only a suspended task is exported", disks, broken{control: swallow(drivers.Export)}},
		{"it exports nothing", "what is exported starts elsewhere, once and again", disks, broken{control: swallow(drivers.Export)}},
		{"it cannot and says it did", "what cannot move says so", fake.Config{}, broken{control: swallow(drivers.Export)}},
		{"it cannot and starts", "what cannot move says so", fake.Config{Disk: true}, broken{task: func(t *drivers.Task) { t.From = "" }}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			h, _ := fakeHarness(t)
			d := fake.New(c.config)
			h.Now, h.Advance = d.Now, d.Advance
			bites(t, h, d, c.b, c.check)
		})
	}
}
