package executor

import (
	"slices"
	"testing"
	"time"

	"github.com/coinop/coinop/executor/wire"
)

func TestTaskRunsAndItsEndIsReportedUntilTheServersTookNote(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "run", "90s", "3"))
		status := m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		near(t, "age of the first process", millis(status.GetStartedAgeMs()), 0, 20*time.Millisecond)
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_EXITED, 3)
		near(t, "time it ran", millis(end.GetRanMs()), 90*time.Second, 20*time.Millisecond)
		if end.GetStartedAgeMs() < end.GetRanMs() {
			t.Errorf("it ran for %d ms and started only %d ms ago", end.GetRanMs(), end.GetStartedAgeMs())
		}
		if end.GetEnd().GetCpuMs() != 5 || end.GetEnd().GetMemoryPeakBytes() != 1<<20 {
			t.Errorf("usage is missing: %v", end.GetEnd())
		}
		told := func() int { return len(m.cluster.history) }
		before := locked(m.cluster, told)
		m.wait(25 * time.Second)
		if now := locked(m.cluster, told); now < before+2 {
			t.Errorf("the end was told %d times more in 25 s, want again with each heartbeat", now-before)
		}
		m.cluster.forget(1)
		m.awaitFolderGone(1)
		if _, err := m.driver.Usage(m.t.Context(), "ctestcluster-1"); err == nil {
			t.Error("the driver still knows the task")
		}
	})
}

func TestFirstReportTellsWhatTheMachineIs(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.await("facts", func() bool { return m.cluster.facts != nil })
		f := locked(m.cluster, func() *wire.NodeFacts { return m.cluster.facts })
		if f.GetName() != "n1" || f.GetCpuMilli() != 4000 || f.GetCpuMilliReal() == 0 || f.GetMemoryBytes() == 0 ||
			f.GetDiskBytes() == 0 || f.GetKernel() == "" || f.GetBootId() == "" || f.GetVersion() != "test" {
			t.Errorf("facts are incomplete: %v", f)
		}
		if len(f.GetDrivers()) != 1 || f.GetDrivers()[0].GetName() != "fake" || !f.GetDrivers()[0].GetPause() {
			t.Errorf("drivers are %v", f.GetDrivers())
		}
	})
}

func TestDriverThatWasAwayAtTheStartIsOfferedWhenItAnswers(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.setAway(true) }, func(m *machine) {
		m.cluster.await("facts", func() bool { return m.cluster.facts != nil })
		if f := locked(m.cluster, func() *wire.NodeFacts { return m.cluster.facts }); up(f) != 0 {
			t.Errorf("drivers are %v while none answers", f.GetDrivers())
		}
		m.setAway(false)
		m.cluster.await("the driver", func() bool { return up(m.cluster.facts) == 1 })
	})
}

func up(f *wire.NodeFacts) (n int) {
	for _, d := range f.GetDrivers() {
		if d.GetState() == wire.DriverState_DRIVER_STATE_UP {
			n++
		}
	}
	return n
}

func TestEndedTaskIsNotHeldUpByAHundredOthers(t *testing.T) {
	onMachine(t, func(m *machine) {
		var orders []*wire.Order
		for run := uint64(1); run <= 300; run++ {
			orders = append(orders, running(run, "exit", "0"))
		}
		m.cluster.order(orders...)
		m.cluster.await("all to end", func() bool {
			for run := uint64(1); run <= 300; run++ {
				if m.cluster.runs[run].GetState() != wire.RunState_RUN_STATE_ENDED {
					return false
				}
			}
			return true
		})
		if n := locked(m.cluster, func() int { return m.cluster.reports }); n > 60 {
			t.Errorf("300 tasks took %d reports, want them gathered", n)
		}
		if n := locked(m.cluster, func() int { return m.cluster.puts }); n != 0 {
			t.Errorf("%d empty logs were stored", n)
		}
	})
}

func TestPausedTaskIsFrozenAndResumes(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "run", "60s", "0")
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.wait(10 * time.Second)
		paused := but(run, func(o *wire.Order) { o.Want = wire.Want_WANT_PAUSE })
		m.cluster.order(paused)
		status := m.cluster.awaitState(1, wire.RunState_RUN_STATE_PAUSED)
		if len(status.GetFrozen()) != 1 || status.GetFrozen()[0].GetCause() != wire.SpanCause_SPAN_CAUSE_ORDERED {
			t.Errorf("frozen spans are %v, want one that was ordered", status.GetFrozen())
		}
		m.cluster.await("the order's version", func() bool { return m.cluster.runs[1].GetVersion() == paused.GetVersion() })
		m.wait(100 * time.Second)
		m.cluster.order(but(paused, func(o *wire.Order) { o.Want = wire.Want_WANT_RUN }))
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_EXITED, 0)
		near(t, "time from first process to end", millis(end.GetRanMs()), 160*time.Second, time.Second)
	})
}

func TestPausedTaskStaysPausedWhenTheExecutorRestarts(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "run", "60s", "0")
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		paused := but(run, func(o *wire.Order) { o.Want = wire.Want_WANT_PAUSE })
		m.cluster.order(paused)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_PAUSED)
		m.stop()
		resumed := but(paused, func(o *wire.Order) { o.Want = wire.Want_WANT_RUN })
		m.cluster.order(resumed)
		m.start()
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_EXITED, 0)
		if m.starts(1) != 1 {
			t.Errorf("it was started %d times", m.starts(1))
		}
	})
}

func TestTaskOrderedToPauseBeforeItsStartWaits(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "exit", "0")
		run.Want = wire.Want_WANT_PAUSE
		m.cluster.order(run)
		m.wait(30 * time.Second)
		if m.starts(1) != 0 {
			t.Fatal("it was started")
		}
		m.cluster.order(but(run, func(o *wire.Order) { o.Want = wire.Want_WANT_RUN }))
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_EXITED, 0)
	})
}

func TestStopGivesTheKillDelay(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "stubborn")
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		began := time.Now()
		m.cluster.order(but(run, func(o *wire.Order) { o.Want, o.KillDelayMs = wire.Want_WANT_STOP, 30_000 }))
		end := m.cluster.awaitEnd(1)
		near(t, "time until it was killed", time.Since(began), 30*time.Second, 100*time.Millisecond)
		expectEnd(t, end, wire.Cause_CAUSE_STOPPED, 137)
	})
}

func TestStopWithoutDelayKillsAtOnce(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "stubborn")
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		began := time.Now()
		m.cluster.order(but(run, func(o *wire.Order) { o.Want = wire.Want_WANT_STOP }))
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_STOPPED, 137)
		near(t, "time until it was killed", time.Since(began), 0, 50*time.Millisecond)
	})
}

func TestStoppedBeforeItsStartItNeverRuns(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "exit", "0")
		run.Want = wire.Want_WANT_STOP
		m.cluster.order(run)
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_STOPPED, codeOurs)
		if end.StartedAgeMs != nil || m.starts(1) != 0 {
			t.Errorf("it was started: %v", end)
		}
	})
}

func TestTimeLimitIsKeptOnTheMachinesOwnClock(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "stubborn")
		run.Spec.TimeLimitMs, run.Spec.KillDelayMs = 100_000, 10_000
		polite := running(2, "block")
		polite.Spec.TimeLimitMs, polite.Spec.KillDelayMs = 100_000, 10_000
		m.cluster.order(run, polite)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_TIME_LIMIT, 137)
		near(t, "time it ran", millis(end.GetRanMs()), 100*time.Second, 50*time.Millisecond)
		end = m.cluster.awaitEnd(2)
		expectEnd(t, end, wire.Cause_CAUSE_TIME_LIMIT, 143)
		near(t, "time it ran", millis(end.GetRanMs()), 90*time.Second, 50*time.Millisecond)
	})
}

func TestTimeLimitThatIsMovedIsKept(t *testing.T) {
	longer := func(o *wire.Order) { o.Version, o.LimitMs = 9, 300_000 }
	for name, meanwhile := range map[string]func(m *machine){
		"":                          func(*machine) {},
		"its executor is exchanged": func(m *machine) { m.stop(); m.start() },
		"its executor is away for a while, no server is there when it is back": func(m *machine) {
			m.cluster.change(func() { m.cluster.dead["a:1"] = true })
			m.cluster.cut()
			m.stop()
			m.wait(20 * time.Second) // its lease lasts that long
			m.start()
			m.wait(10 * time.Second)
			m.cluster.change(func() { m.cluster.dead["a:1"] = false })
		},
	} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, func(m *machine) {
				run := running(1, "stubborn")
				run.Spec.TimeLimitMs, run.Spec.KillDelayMs = 100_000, 10_000
				m.cluster.order(run)
				m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
				m.wait(60 * time.Second)
				m.cluster.order(but(run, longer))
				m.wait(60 * time.Second) // beyond what its spec says
				meanwhile(m)
				end := m.cluster.awaitEnd(1)
				expectEnd(t, end, wire.Cause_CAUSE_TIME_LIMIT, 137)
				near(t, "time it ran", millis(end.GetRanMs()), 300*time.Second, 50*time.Millisecond)
				if m.starts(1) != 1 {
					t.Errorf("it was started %d times", m.starts(1))
				}
			})
		})
	}
}

func TestTimeLimitIsKeptAlsoWhenNoServerAnswers(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "block")
		run.Spec.TimeLimitMs, run.Spec.KillDelayMs = 20_000, 2_000
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.change(func() { m.cluster.dead["a:1"] = true })
		m.cluster.cut()
		m.wait(time.Minute)
		m.cluster.change(func() { m.cluster.dead["a:1"] = false })
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_TIME_LIMIT, 143)
		near(t, "time it ran", millis(end.GetRanMs()), 18*time.Second, 50*time.Millisecond)
	})
}

func TestRunThatIsNoLongerNamedIsKilledAndForgotten(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "stubborn"), running(2, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.awaitState(2, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.forget(1)
		m.awaitFolderGone(1)
		m.cluster.cut()
		m.cluster.await("a new stream", func() bool { return len(m.cluster.wholes) == 2 })
		if got := locked(m.cluster, m.cluster.secondStream); !slices.Equal(got, []uint64{2}) {
			t.Errorf("the new stream begins with runs %v, want run 2 alone", got)
		}
	})
}

func TestCommandThatIsNotThereIsTheUsersFault(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "no-such-command"))
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_START_FAILED, 127)
	})
}

func TestShimThatDiesIsOurFault(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		if err := m.driver.Lose("ctestcluster-1"); err != nil {
			t.Fatal(err)
		}
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, 125)
	})
}

func TestUnknownDriverIsOurFault(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "block")
		run.Spec.Driver = "vm"
		m.cluster.order(run)
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, codeOurs)
		m.cluster.forget(1)
		m.awaitFolderGone(1)
	})
}
