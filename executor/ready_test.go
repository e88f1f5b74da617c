package executor

import (
	"testing"
	"time"
)

// It is said once, and not before the servers have answered a report that offers a driver.
func TestItIsSaidOnceThatTheMachineTakesWork(t *testing.T) {
	said := make(chan struct{}, 8)
	onMachineWith(t, func(m *machine) {
		m.config.Ready = func() { said <- struct{}{} }
		m.cluster.dead["a:1"] = true
	}, func(m *machine) {
		m.wait(time.Minute)
		if len(said) > 0 {
			t.Error("it takes work although no server answers")
		}
		m.cluster.change(func() { delete(m.cluster.dead, "a:1") })
		m.wait(20 * time.Second)
		m.cluster.cut()
		m.wait(time.Minute)
		if len(said) != 1 {
			t.Errorf("it was said %d times", len(said))
		}
	})
}
