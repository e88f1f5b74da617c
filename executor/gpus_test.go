package executor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/executor/wire"
)

func TestATaskGetsItsGPUsAndTellsWhatTheyDid(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		run := onGPUs(1, 2, "run", "10s", "0")
		run.Spec.Env = []string{"CUDA_VISIBLE_DEVICES=all", "OTHER=x"}
		m.cluster.order(run)
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_EXITED, 0)
		task := m.task(1)
		if n := slices.IndexFunc(task.Env, func(s string) bool { return strings.HasPrefix(s, "CUDA") }); task.Env[n] != "CUDA_VISIBLE_DEVICES=GPU-0" ||
			slices.Contains(task.Env, "CUDA_VISIBLE_DEVICES=all") || !slices.Contains(task.Env, "OTHER=x") || len(task.Devices) > 0 {
			t.Errorf("the task has %q and devices %q", task.Env, task.Devices)
		}
		used := end.GetEnd().GetGpu()
		if used.GetEnergyMillijoules() != 1234 || used.GetBasis() != "the GPU" || used.GetUtilisationMilli() != 500 || used.GetMemoryPeakBytes() != 1<<30 ||
			!slices.Equal(used.GetDevices(), []string{"a100-sxm4-40gb", "a100-sxm4-40gb"}) {
			t.Errorf("its GPUs did %v", used)
		}
		p.nothingHeld(t)
	})
}

func TestADriverWithADevOfItsOwnGetsDevices(t *testing.T) {
	onMachineWith(t, func(m *machine) {
		newRack(m)
		m.devices = []string{drivers.DevicesCDI}
	}, func(m *machine) {
		m.cluster.order(onGPUs(1, 1, "exit", "0"))
		m.cluster.awaitEnd(1)
		if task := m.task(1); !slices.Equal(task.Devices, []string{"coinop/gpu=" + task.ID}) || task.DeviceSpecs != "/run/specs" ||
			slices.ContainsFunc(task.Env, func(s string) bool { return strings.HasPrefix(s, "CUDA") }) {
			t.Errorf("the task is %+v", task)
		}
	})
}

// gpuSteps are those of a run with GPUs.
var gpuSteps = []string{
	"spec written", "prepared", "allocated", "starting", "started", "running", "final", "released", "end written",
	"dropped", "driver removed", "forgotten",
}

func TestExecutorKilledAtAnyStepKeepsCountOfGPUs(t *testing.T) {
	for _, step := range gpuSteps {
		t.Run(step, func(t *testing.T) {
			var reached chan struct{}
			var p *rack
			onMachineWith(t, func(m *machine) { p = newRack(m); reached = m.haltAt(step) }, func(m *machine) {
				m.cluster.order(onGPUs(1, 1, "run", "10s", "3"))
				if slices.Index(gpuSteps, step) >= slices.Index(gpuSteps, "dropped") {
					m.cluster.awaitEnd(1)
					m.cluster.forget(1)
				}
				<-reached
				m.stop()
				m.config.step = nil
				m.cluster.change(func() { delete(m.cluster.runs, 1) })
				m.start()
				if locked(m.cluster, func() bool { return m.cluster.orders[1] != nil }) {
					end := m.cluster.awaitEnd(1)
					expectEnd(t, end, wire.Cause_CAUSE_EXITED, 3)
					if used := end.GetEnd().GetGpu(); used.GetEnergyMillijoules() != 1234 || len(used.GetDevices()) != 1 {
						t.Errorf("its GPU did %v", used)
					}
					m.cluster.forget(1)
				}
				m.awaitFolderGone(1)
				if m.starts(1) != 1 || p.count(&p.allocated) != 1 {
					t.Errorf("%d starts, %d allocations", m.starts(1), p.allocated)
				}
				p.nothingHeld(t)
			})
		})
	}
}

func TestEveryStepOfARunWithGPUsIsReached(t *testing.T) {
	var seen []string
	onMachineWith(t, func(m *machine) {
		newRack(m)
		m.config.step = func(_ uint64, step string) error { seen = append(seen, step); return nil }
	}, func(m *machine) {
		m.cluster.order(onGPUs(1, 1, "run", "10s", "0"))
		m.cluster.awaitEnd(1)
		m.cluster.forget(1)
		m.awaitFolderGone(1)
	})
	if !slices.Equal(seen, gpuSteps) {
		t.Errorf("a run passes %q\nbut executors are killed at %q", seen, gpuSteps)
	}
}

func TestARunThatFindsNoGPUGoesBackUnstarted(t *testing.T) {
	for name, err := range map[string]error{"no room": gpu.ErrNoRoom, "none": gpu.ErrNone} {
		t.Run(name, func(t *testing.T) {
			onRack(t, func(m *machine, p *rack) {
				m.cluster.await("facts", func() bool { return m.cluster.facts.GetGpus() == 4 })
				p.mu.Lock()
				p.fails["Allocate"] = err
				before := p.asked["Inventory"]
				p.mu.Unlock()
				m.cluster.order(onGPUs(1, 1, "exit", "0"))
				end := m.cluster.awaitEnd(1)
				expectEnd(t, end, wire.Cause_CAUSE_NO_ROOM, codeOurs)
				if end.StartedAgeMs != nil || m.starts(1) != 0 || !strings.Contains(end.GetEnd().GetMessage(), err.Error()) {
					t.Errorf("it ended as %v after %d starts", end, m.starts(1))
				}
				m.wait(time.Second)
				if p.locked(func() bool { return p.asked["Inventory"] == before }) {
					t.Error("the provider was not asked what it really has")
				}
				p.mu.Lock()
				delete(p.fails, "Allocate")
				p.mu.Unlock()
				m.cluster.order(onGPUs(2, 1, "exit", "0"))
				expectEnd(t, m.cluster.awaitEnd(2), wire.Cause_CAUSE_EXITED, 0)
			})
		})
	}
	t.Run("no provider", func(t *testing.T) {
		onMachineWith(t, func(m *machine) { m.config.NoGPUs = "there is no library" }, func(m *machine) {
			m.cluster.await("a note", func() bool { return slices.Contains(m.cluster.facts.GetMissing(), "GPUs: there is no library") })
			m.cluster.order(onGPUs(1, 1, "exit", "0"))
			expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_NO_ROOM, codeOurs)
		})
	})
}

func TestARefusalByTheProviderIsNotTheCommandsFault(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		p.mu.Lock()
		p.fails["Allocate"] = fmt.Errorf("%w: a profile is for slices", drivers.ErrInvalid)
		p.mu.Unlock()
		m.cluster.order(onGPUs(1, 1, "exit", "0"))
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, codeOurs)
	})
}

func TestAGPUIsForSaleAgainWhenItIsClean(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.await("facts", func() bool { return m.cluster.facts.GetGpus() == 4 })
		set := func(s gpu.State) { p.mu.Lock(); defer p.mu.Unlock(); p.devices[3].State = s }
		set(gpu.StateCleaning)
		m.cluster.await("the machine to tell that one is not to be had", func() bool { return m.cluster.facts.GetGpus() == 3 })
		set(gpu.StateFree)
		began := time.Now()
		m.cluster.await("it to be had again", func() bool { return m.cluster.facts.GetGpus() == 4 })
		if took := time.Since(began); took > gpuSoon+time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestAGPUIsGivenBackBeforeFilesAreSent(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		run := onGPUs(1, 1, "run", "10s", "0")
		run.Spec.Env = []string{"print=hello"}
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.change(func() { m.cluster.dead["a:1"] = true })
		m.cluster.cut()
		m.wait(20 * time.Second) // there is nobody to take the log
		p.nothingHeld(t)
		m.cluster.change(func() { delete(m.cluster.dead, "a:1") })
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_EXITED, 0)
	})
}

func TestASickGPUEndsItsTasksAndNoOthers(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.order(onGPUs(1, 1, "run", "1h", "0"), running(3, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.order(onGPUs(2, 1, "run", "1h", "0"))
		m.cluster.awaitState(2, wire.RunState_RUN_STATE_RUNNING)
		m.wait(time.Minute)
		p.sicken(0, "XID 79: it has fallen off the bus", true)
		end := m.cluster.awaitEnd(1)
		if end.GetEnd().GetCause() != wire.Cause_CAUSE_FAULT || end.GetEnd().GetMessage() != "its GPU failed: XID 79: it has fallen off the bus" {
			t.Errorf("it ended as %v", end.GetEnd())
		}
		m.cluster.await("the facts to say so", func() bool {
			c := m.cluster.facts.GetCards()
			return m.cluster.facts.GetGpus() == 3 && c[0].GetSick() && c[0].GetReason() != "" && !c[1].GetSick()
		})
		m.wait(time.Minute)
		for _, run := range []uint64{2, 3} {
			if got := locked(m.cluster, func() wire.RunState { return m.cluster.runs[run].GetState() }); got != wire.RunState_RUN_STATE_RUNNING {
				t.Errorf("run %d is %v", run, got)
			}
		}
	})
}

func TestATaskThatFailsWithItsGPUIsNotToBlame(t *testing.T) {
	for _, c := range []struct {
		what string
		code int32
		sick int // GPU
		want wire.Cause
	}{
		{"its own", 1, 0, wire.Cause_CAUSE_FAULT},
		{"another", 1, 1, wire.Cause_CAUSE_EXITED},
		{"its own, too late", 0, 0, wire.Cause_CAUSE_EXITED},
	} {
		t.Run(c.what, func(t *testing.T) {
			onRack(t, func(m *machine, p *rack) {
				m.cluster.order(onGPUs(1, 1, "run", "10s", fmt.Sprint(c.code)))
				m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
				p.sicken(c.sick, "memory failed", false)
				expectEnd(t, m.cluster.awaitEnd(1), c.want, c.code)
			})
		})
	}
}

func TestARestartHearsOfASickGPU(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.order(onGPUs(1, 1, "run", "1h", "0"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.stop()
		p.sicken(0, "memory failed", true)
		m.start()
		end := m.cluster.awaitEnd(1)
		if end.GetEnd().GetCause() != wire.Cause_CAUSE_FAULT || end.GetEnd().GetMessage() != "its GPU failed: memory failed" {
			t.Errorf("it ended as %v", end.GetEnd())
		}
	})
}

func TestAProgramsOwnErrorIsNotedAndALostSliceIsAFault(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.order(onGPUs(1, 1, "run", "10s", "1"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		p.tell(gpu.Event{Device: "GPU-0", XID: 31, Reason: "XID 31, a program's own error", Tasks: []string{m.task(1).ID, "nobody", "nobody-7"}})
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_EXITED, 1)
		if !slices.Contains(end.GetEnd().GetNotes(), "GPU: XID 31, a program's own error") {
			t.Errorf("its notes are %q", end.GetEnd().GetNotes())
		}
		m.cluster.order(onGPUs(2, 1, "run", "1h", "0"))
		m.cluster.awaitState(2, wire.RunState_RUN_STATE_RUNNING)
		p.tell(gpu.Event{Device: "GPU-0", Reason: "its slice was destroyed by somebody else", Tasks: []string{m.task(2).ID}})
		expectEnd(t, m.cluster.awaitEnd(2), wire.Cause_CAUSE_FAULT, 137)
	})
}

func TestAnEndIsToldThoughItsGPUCannotBeGivenBack(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.order(onGPUs(1, 1, "run", "10s", "0"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		p.mu.Lock()
		p.fails["Release"] = drivers.ErrUnavailable
		p.mu.Unlock()
		began := time.Now()
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_EXITED, 0)
		if took := time.Since(began); took > 10*time.Second+gpuEndPatience+time.Second || end.GetEnd().GetGpu() != nil || len(end.GetEnd().GetNotes()) != 1 {
			t.Errorf("after %s it ended as %v", took, end.GetEnd())
		}
		m.cluster.forget(1)
		m.wait(time.Minute)
		if _, err := os.Stat(m.folder(1)); err != nil {
			t.Errorf("the run is forgotten and still has its GPU: %v", err)
		}
		p.mu.Lock()
		clear(p.fails)
		p.mu.Unlock()
		m.wait(removeRetry)
		m.awaitFolderGone(1)
		p.nothingHeld(t)
	})
}

func TestWhateverEndsARunGivesItsGPUsBack(t *testing.T) {
	for name, play := range map[string]func(m *machine){
		"dropped while it runs": func(m *machine) {
			m.cluster.order(onGPUs(1, 1, "block"))
			m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
			m.cluster.forget(1)
		},
		"stopped before its start": func(m *machine) {
			m.cluster.order(but(onGPUs(1, 1, "block"), func(o *wire.Order) { o.Want = wire.Want_WANT_PAUSE }))
			m.wait(time.Second)
			m.cluster.order(&wire.Order{Run: 1, Version: 9, Want: wire.Want_WANT_STOP})
			expectEnd(m.t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_STOPPED, codeOurs)
		},
		"not a command": func(m *machine) {
			m.cluster.order(onGPUs(1, 1, "no such command"))
			expectEnd(m.t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_START_FAILED, 127)
		},
		"vanished": func(m *machine) {
			m.cluster.order(onGPUs(1, 1, "block"))
			m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
			m.stop()
			if err := m.driver.Remove(m.t.Context(), m.task(1).ID); err != nil {
				m.t.Error(err)
			}
			m.start()
			expectEnd(m.t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, codeOurs)
		},
		"its journal lost": func(m *machine) { // and with it whose run it is: the provider says that a task is nobody's
			m.cluster.order(onGPUs(1, 1, "block"))
			m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
			m.stop()
			if err := os.RemoveAll(m.folder(1)); err != nil {
				m.t.Error(err)
			}
			m.cluster.change(func() { delete(m.cluster.orders, 1) })
			m.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onRack(t, func(m *machine, p *rack) {
				play(m)
				m.wait(time.Minute)
				if p.count(&p.allocated) != 1 {
					t.Errorf("%d allocations", p.allocated)
				}
				p.nothingHeld(t)
			})
		})
	}
}

// The oracle of these tests bites: a GPU given back too early, and a task started without one.
func TestTheRackNoticesWhatIsOutOfOrder(t *testing.T) {
	onRack(t, func(m *machine, p *rack) {
		m.cluster.order(onGPUs(1, 1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		if id := m.task(1).ID; !runs(m.driver, id) {
			t.Error("a running task is not seen to run")
		}
		if err := m.driver.End(m.task(1).ID, drivers.Exit{Cause: drivers.CauseExited}); err != nil {
			t.Error(err)
		}
		m.cluster.awaitEnd(1)
		if runs(m.driver, m.task(1).ID) {
			t.Error("an ended task is seen to run")
		}
	})
}

func TestCards(t *testing.T) {
	mesh := func(id string, peers ...string) gpu.Device {
		d := gpu.Device{ID: id, Model: "NVIDIA L4", State: gpu.StateFree}
		for _, p := range peers {
			d.Links = append(d.Links, gpu.Link{Peer: p, Lanes: 1})
		}
		return d
	}
	all := []gpu.Device{mesh("a", "b", "c"), mesh("b", "a"), mesh("c", "a"), mesh("d"), mesh("e", "f"), mesh("f", "e")}
	all[3].MIG = gpu.MIG{Capable: true, On: true, Profiles: []gpu.Profile{{Name: "1g.5gb", Slices: 1, MemoryBytes: 5, Max: 7, Free: 3}}}
	all[4].MIG = gpu.MIG{Capable: true, OnDemand: true}
	all[5].State = gpu.StateBusy
	list, whole := cards(all)
	var islands []int32
	for _, c := range list {
		islands = append(islands, c.GetIsland())
	}
	if !slices.Equal(islands, []int32{1, 1, 0, 0, 2, 2}) {
		t.Errorf("islands %v", islands)
	}
	if whole != 4 || !list[3].GetSlicesOnly() || !list[3].GetMig() || list[3].GetProfiles()[0].GetMax() != 7 || !list[4].GetMig() || list[4].GetSlicesOnly() ||
		!list[5].GetSick() || list[5].GetReason() != "it is busy" || list[0].GetModel() != "l4" {
		t.Errorf("%d whole ones among %v", whole, list)
	}
	slice := &wire.GPURequest{Kind: wire.GPUKind_GPU_KIND_SLICE, Count: 1, Profile: "1g.5gb"}
	if got := requestOf("t", slice); got != (gpu.Request{Task: "t", Kind: gpu.Slice, Count: 1, Profile: "1g.5gb"}) {
		t.Errorf("asked for %+v", got)
	}
	granted := []gpu.Granted{{Model: "NVIDIA A100-SXM4-80GB", Profile: "3g.40gb"}}
	if got := usageOf(gpu.Usage{Utilisation: -1}, slice, granted); got.GetUtilisationMilli() != -1 || !slices.Equal(got.GetDevices(), []string{"a100-sxm4-80gb 3g.40gb"}) {
		t.Errorf("told of %v", got)
	}
	granted[0].Profile = ""
	if got := usageOf(gpu.Usage{}, &wire.GPURequest{Kind: wire.GPUKind_GPU_KIND_SHARE}, granted); !slices.Equal(got.GetDevices(), []string{"a100-sxm4-80gb share"}) {
		t.Errorf("told of %v", got)
	}
	var without noGPU
	if !errors.As(fmt.Errorf("x: %w", noGPU{gpu.ErrNone}), &without) {
		t.Error("what could not be had is not known any more")
	}
}
