package executor

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

func TestDriversThatCannotBeUsedAreSaidWithTheirReasons(t *testing.T) {
	onMachineWith(t, func(m *machine) {
		m.config.Absent = map[string]string{"container": "neither is installed"}
		m.describe = func(d *drivers.Description) error {
			d.Note = "by the slower one"
			return nil
		}
		m.config.Drivers["useless"] = &moody{m.driver, &machine{describe: func(*drivers.Description) error {
			return fmt.Errorf("%w: its kernel is too old", drivers.ErrUnsupported)
		}}}
	}, func(m *machine) {
		m.cluster.await("facts", func() bool { return m.cluster.facts != nil })
		f := locked(m.cluster, func() *wire.NodeFacts { return m.cluster.facts })
		var all []string
		for _, d := range f.GetDrivers() {
			all = append(all, fmt.Sprintf("%s %s %t %s", d.GetName(), d.GetState(), d.GetPause(), d.GetReason()))
		}
		want := []string{"container DRIVER_STATE_REFUSED false neither is installed", "fake DRIVER_STATE_UP true ",
			"useless DRIVER_STATE_REFUSED false not supported by this driver: its kernel is too old"}
		if !slices.Equal(all, want) || len(f.GetMissing()) == 0 || f.GetMissing()[len(f.GetMissing())-1] != "driver fake: by the slower one" {
			t.Errorf("it offers %q, and is missing %q", all, f.GetMissing())
		}
	})
}

// An image may be long in coming. Who cancels meanwhile need not wait for it.
func TestAStartThatNobodyWaitsForIsMadeUndone(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.starting = time.Hour }, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.await("the driver is asked", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.begun > 0 })
		began := time.Now()
		m.cluster.order(but(running(1, "block"), func(o *wire.Order) { o.Want = wire.Want_WANT_STOP }))
		end := m.cluster.awaitEnd(1).GetEnd()
		if end.GetCause() != wire.Cause_CAUSE_STOPPED || time.Since(began) > time.Minute {
			t.Errorf("after %s it ended as %v", time.Since(began), end)
		}
	})
}
