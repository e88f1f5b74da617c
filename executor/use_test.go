package executor

import (
	"testing"
	"time"

	"github.com/coinop/coinop/executor/wire"
)

// toldUse is what the servers have heard of a running run's GPUs.
func toldUse(m *machine, run uint64) *wire.GPUUsage {
	return locked(m.cluster, func() *wire.GPUUsage { return m.cluster.runs[run].GetGpu() })
}

func TestWhatARunningTaskUsesOfItsGPUsIsTold(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.order(running(3, "block"))
		m.cluster.awaitState(3, wire.RunState_RUN_STATE_RUNNING)
		m.wait(time.Minute)
		if n := p.locked(func() bool { return p.asked["Usage"] > 0 }); n {
			t.Error("the provider is asked although no task has a GPU")
		}
		m.cluster.order(onGPUs(1, 1, "run", "1h", "0"), onGPUs(2, 2, "run", "1h", "0"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.awaitState(2, wire.RunState_RUN_STATE_RUNNING)
		m.wait(time.Minute)
		one, two := toldUse(m, 1), toldUse(m, 2)
		if one.GetMemoryBytes() != 1<<30 || two.GetMemoryBytes() != 2<<30 || one.GetMemoryPeakBytes() != 5<<30 || one.GetUtilisationMilli() != 300 ||
			one.GetProcesses() != 2 || one.GetProcessesPeak() != 3 || one.GetBasis() != "the GPU" || len(two.GetDevices()) != 2 || toldUse(m, 3) != nil {
			t.Errorf("told of %v, %v and %v", one, two, toldUse(m, 3))
		}
		asked := p.locked(func() bool { return p.asked["Usage"] <= 7 })
		if !asked {
			t.Errorf("it was asked %d times in a minute, of two tasks", p.asked["Usage"])
		}
		m.stop()
		m.start()
		m.wait(time.Minute)
		if again := toldUse(m, 1); again.GetEnergyMillijoules() <= one.GetEnergyMillijoules() || len(again.GetDevices()) != 1 {
			t.Errorf("after a restart told of %v, before of %v", again, one)
		}
	})
}

func TestAHangingProviderLeavesWhatWasToldOfATask(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.order(onGPUs(1, 1, "run", "5m", "0"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.wait(time.Minute)
		before := toldUse(m, 1)
		end := p.hang()
		m.wait(time.Minute)
		if now := toldUse(m, 1); before == nil || now.GetEnergyMillijoules() != before.GetEnergyMillijoules() {
			t.Errorf("told of %v, then of %v", before, now)
		}
		end()
		m.wait(time.Minute + gpuPatience)
		if now := toldUse(m, 1); now.GetEnergyMillijoules() <= before.GetEnergyMillijoules() {
			t.Errorf("told of %v, then of %v", before, now)
		}
		if used := m.cluster.awaitEnd(1).GetEnd().GetGpu(); used.GetEnergyMillijoules() != 1234 || toldUse(m, 1) != nil {
			t.Errorf("at the end told of %v and %v", used, toldUse(m, 1))
		}
	})
}
