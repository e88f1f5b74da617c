package executor

import (
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

func TestAProviderThatHangsHoldsUpNobodyElse(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.await("facts", func() bool { return m.cluster.facts.GetGpus() == 4 })
		end := p.hang()
		began := time.Now()
		m.cluster.order(onGPUs(1, 1, "exit", "0"), running(2, "exit", "0"))
		expectEnd(t, m.cluster.awaitEnd(2), wire.Cause_CAUSE_EXITED, 0)
		if took := time.Since(began); took > time.Second {
			t.Errorf("a task without GPUs took %s", took)
		}
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_NO_ROOM, codeOurs)
		if took := time.Since(began); took > gpuStartPatience+gpuEndPatience {
			t.Errorf("the run waited %s for its GPUs", took)
		}
		m.cluster.await("the machine to offer no GPU", func() bool {
			f := m.cluster.facts
			return f.GetGpus() == 0 && len(f.GetCards()) == 4 && f.GetCards()[0].GetSick() && strings.Contains(f.GetCards()[0].GetReason(), "does not answer")
		})
		end()
		m.cluster.await("it to offer them again", func() bool { return m.cluster.facts.GetGpus() == 4 })
		m.cluster.forget(1)
		m.awaitFolderGone(1)
		p.nothingHeld(t)
	})
}

func TestAHangingProvidersGPUsAreNotForSaleLongBeforeItIsGivenUp(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.await("facts", func() bool { return m.cluster.facts.GetGpus() == 4 })
		m.cluster.order(onGPUs(1, 1, "run", "1h", "0"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.wait(time.Minute)
		end := p.hang()
		began := time.Now()
		m.cluster.await("the machine to offer no GPU", func() bool { return m.cluster.facts.GetGpus() == 0 })
		if took := time.Since(began); took > gpuEvery+gpuSilent+time.Second {
			t.Errorf("that took %s", took)
		}
		end() // the question that was asked is answered, late
		began = time.Now()
		m.cluster.await("it to offer them again", func() bool { return m.cluster.facts.GetGpus() == 4 })
		if took := time.Since(began); took > time.Second {
			t.Errorf("that took %s", took)
		}
		m.wait(gpuPatience)
		if f := m.cluster.facts; f.GetGpus() != 4 || f.GetCards()[0].GetSick() {
			t.Errorf("later it offers %v", f.GetCards())
		}
		if got := locked(m.cluster, func() wire.RunState { return m.cluster.runs[1].GetState() }); got != wire.RunState_RUN_STATE_RUNNING {
			t.Errorf("its task is %v", got)
		}
	})
}

func TestARunIsStoppedWhileItsProviderHangs(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.await("facts", func() bool { return m.cluster.facts.GetGpus() == 4 })
		p.mu.Lock()
		p.stuck = "Allocate"
		p.mu.Unlock()
		m.cluster.order(onGPUs(1, 1, "exit", "0"))
		m.wait(time.Second)
		began := time.Now()
		m.cluster.order(&wire.Order{Run: 1, Version: 9, Want: wire.Want_WANT_STOP})
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_STOPPED, codeOurs)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestEventsThatDoNotBeginAreAskedForAgain(t *testing.T) {
	var p *rack
	onMachineWith(t, func(m *machine) { p = newRack(m); p.stuck = "Watch" }, func(m *machine) {
		m.cluster.order(onGPUs(1, 1, "run", "1h", "0"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		p.mu.Lock()
		p.stuck = ""
		p.mu.Unlock()
		m.wait(gpuPatience + time.Second)
		p.sicken(0, "memory failed", true)
		m.wait(time.Second)
		if got := locked(m.cluster, func() wire.Cause { return m.cluster.runs[1].GetEnd().GetCause() }); got != wire.Cause_CAUSE_FAULT {
			t.Errorf("the event was not heard: the run's end is %v", got)
		}
	})
}

func TestAHangingProviderDelaysTheFirstFactsALittle(t *testing.T) {
	onMachineWith(t, func(m *machine) { newRack(m).hang() }, func(m *machine) {
		began := time.Now()
		m.cluster.order(running(1, "exit", "0"))
		m.cluster.awaitEnd(1)
		m.cluster.await("facts", func() bool { return len(m.cluster.facts.GetDrivers()) == 1 })
		if took := time.Since(began); took > gpuFirst+time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestAProviderThatCrashesIsAskedAgain(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		p.mu.Lock()
		for _, method := range []string{"Inventory", "Allocate", "Watch"} {
			p.fails[method] = drivers.ErrUnavailable
		}
		p.mu.Unlock()
		p.breakOff()
		m.cluster.order(onGPUs(1, 1, "run", "1h", "0"))
		m.wait(30 * time.Second)
		p.mu.Lock()
		clear(p.fails)
		p.mu.Unlock()
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.wait(10 * time.Second)
		p.sicken(0, "it is lost", true) // which is heard, since the events were asked for again
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, 137)
	})
}
