package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/executor/wire"
)

// steps are the moments of a run at which an executor can be killed, in order.
var steps = []string{
	"spec written", "prepared", "starting", "started", "running", "final", "logs stored", "end written",
	"dropped", "driver removed", "forgotten",
}

// haltAt makes the executor stop as if killed when the run reaches a step for the first time.
func (m *machine) haltAt(step string) (reached chan struct{}) {
	reached = make(chan struct{})
	halted := false // by the run's own goroutine
	m.config.step = func(_ uint64, at string) error {
		if at != step && !halted {
			return nil
		}
		if !halted {
			halted = true
			close(reached)
		}
		return errHalted
	}
	return reached
}

func TestExecutorKilledAtAnyStepDoublesAndLosesNothing(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			var reached chan struct{}
			onMachineWith(t, func(m *machine) { reached = m.haltAt(step) }, func(m *machine) {
				run := running(1, "run", "10s", "3")
				run.Spec.Env = []string{"print=hello"}
				run.Spec.Outputs = []string{"*.txt"}
				m.touch = touchFile(t, "result.txt", "42")
				m.cluster.order(run)
				if i := slices.Index(steps, step); i >= slices.Index(steps, "dropped") {
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
					near(t, "time it ran", millis(end.GetRanMs()), 10*time.Second, 50*time.Millisecond)
					if end.GetEnd().GetStdout().GetSize() != 5 || len(end.GetEnd().GetOutputs()) != 1 {
						t.Errorf("log or output is missing: %v", end.GetEnd())
					}
					m.cluster.forget(1)
				}
				m.awaitFolderGone(1)
				if n := m.starts(1); n != 1 {
					t.Errorf("it was started %d times", n)
				}
				if _, err := m.driver.Usage(m.t.Context(), "ctestcluster-1"); err == nil {
					t.Error("the driver still knows the task")
				}
				if left, err := os.ReadDir(filepath.Join(m.config.Dir, "runs")); err != nil || len(left) > 0 {
					t.Errorf("runs holds %v, %v", left, err)
				}
			})
		})
	}
}

func TestEveryStepIsReached(t *testing.T) {
	var seen []string
	onMachineWith(t, func(m *machine) {
		m.config.step = func(_ uint64, step string) error { seen = append(seen, step); return nil }
	}, func(m *machine) {
		run := running(1, "run", "10s", "0")
		run.Spec.Env = []string{"print=hello"}
		m.cluster.order(run)
		m.cluster.awaitEnd(1)
		m.cluster.forget(1)
		m.awaitFolderGone(1)
	})
	if !slices.Equal(seen, steps) {
		t.Errorf("a run passes %q\nbut executors are killed at %q", seen, steps)
	}
}

func TestRestartFindsRunningTasks(t *testing.T) {
	onMachine(t, func(m *machine) {
		for run := uint64(1); run <= 5; run++ {
			m.cluster.order(running(run, "run", "100s", fmt.Sprint(run)))
		}
		m.cluster.awaitState(5, wire.RunState_RUN_STATE_RUNNING)
		m.wait(time.Second)
		m.restart()
		m.cluster.await("the new stream", func() bool { return len(m.cluster.wholes) == 2 })
		if got := locked(m.cluster, m.cluster.secondStream); !slices.Equal(got, []uint64{1, 2, 3, 4, 5}) {
			t.Errorf("the new stream begins with runs %v", got)
		}
		for run := uint64(1); run <= 5; run++ {
			end := m.cluster.awaitEnd(run)
			expectEnd(t, end, wire.Cause_CAUSE_EXITED, int32(run))
			near(t, "time it ran", millis(end.GetRanMs()), 100*time.Second, 50*time.Millisecond)
			if m.starts(run) != 1 {
				t.Errorf("run %d was started %d times", run, m.starts(run))
			}
		}
	})
}

func TestRunThatEndedWhileNoExecutorWasThereIsReported(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "run", "10s", "7"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.stop()
		m.wait(30 * time.Second)
		m.start()
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_EXITED, 7)
		near(t, "time it ran", millis(end.GetRanMs()), 10*time.Second, 50*time.Millisecond)
		near(t, "age", millis(end.GetStartedAgeMs()), 30*time.Second, 2*time.Second)
	})
}

func TestTaskThatVanishedIsOurFaultAndIsNotStartedAgain(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.stop()
		if err := m.driver.Remove(m.t.Context(), "ctestcluster-1"); err != nil {
			t.Fatal(err)
		}
		m.start()
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, codeOurs)
		if m.starts(1) != 1 {
			t.Errorf("it was started %d times", m.starts(1))
		}
	})
}

func TestMachineThatRestartedOwnsUpToWhatItLost(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.stop()
		if err := m.driver.Remove(m.t.Context(), "ctestcluster-1"); err != nil {
			t.Fatal(err)
		}
		// Killed after it had asked for the start and before it saw the first process, then the machine restarted.
		l := layout{m.config.Dir}
		j, err := l.read(1)
		if err != nil {
			t.Fatal(err)
		}
		again := &journal{id: j.id, task: j.task, spec: j.spec}
		if err := os.Remove(l.journal(1)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.writeSpec(again), l.write(again, line{Starting: "another boot"})); err != nil {
			t.Fatal(err)
		}
		m.start()
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, codeOurs)
	})
}

func TestRunThatTheServersKnowAsStartedIsNotStartedByANewFolder(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "exit", "0")
		run.Started = true
		m.cluster.order(run)
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, codeOurs)
		if m.starts(1) != 0 {
			t.Error("it was started again")
		}
		m.cluster.forget(1)
		m.wait(time.Second)
		m.cluster.cut()
		m.cluster.await("a new stream", func() bool { return len(m.cluster.wholes) == 2 })
		if got := locked(m.cluster, m.cluster.secondStream); len(got) != 0 {
			t.Errorf("the new stream begins with runs %v", got)
		}
	})
}

func TestOnlyOneExecutorWorksInAFolder(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.wait(time.Second)
		second, err := New(m.config)
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Run(m.t.Context()); err == nil || !strings.Contains(err.Error(), "another executor") {
			t.Errorf("a second executor ended with: %v", err)
		}
	})
}

func TestStoppingLeavesTasksAlone(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.stop()
		m.wait(10 * time.Second)
		if err := m.driver.Lose("ctestcluster-1"); err != nil {
			t.Errorf("the task is gone: %v", err)
		}
		m.start()
	})
}

func TestStoppingWithStopTasksEndsThemUncharged(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.config.StopTasks = true }, func(m *machine) {
		waiting := running(2, "block")
		waiting.Want = wire.Want_WANT_PAUSE
		m.cluster.order(running(1, "stubborn"), waiting)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cancel()
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_LEAVING, 137)
		expectEnd(t, m.cluster.awaitEnd(2), wire.Cause_CAUSE_LEAVING, codeOurs)
		if !locked(m.cluster, func() bool { return m.cluster.leaving }) {
			t.Error("it did not say that it is leaving")
		}
		m.cluster.forget(1, 2)
		<-m.done
		if left, err := os.ReadDir(filepath.Join(m.config.Dir, "runs")); err != nil || len(left) > 0 {
			t.Errorf("runs holds %v, %v", left, err)
		}
		m.done <- nil
	})
}

func TestStoppingDoesNotWaitForeverForTheServers(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.config.StopTasks = true }, func(m *machine) {
		m.cluster.order(running(1, "stubborn"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.close()
		began := time.Now()
		m.stop()
		near(t, "time to stop", time.Since(began), 10*time.Second, time.Second)
		m.done <- nil
	})
}

func TestJournalThatWasCutShortSaysWhatItsWholeLinesSay(t *testing.T) {
	l := layout{t.TempDir()}
	if err := os.Mkdir(l.runs(), 0o700); err != nil {
		t.Fatal(err)
	}
	j := &journal{id: 7, task: "c-7", spec: &wire.Spec{Name: "two\nlines", Argv: []string{"true"}}}
	end := endWithout("a boot", wire.Cause_CAUSE_STOPPED, "stopped")
	var ends []int64 // of the lines
	for _, write := range []func() error{
		func() error { return l.writeSpec(j) },
		func() error { return l.write(j, line{Starting: "a boot"}) },
		func() error { return l.write(j, line{Started: true}) },
		func() error { return l.writeEnd(j, end) },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, j.size)
	}
	whole, err := os.ReadFile(l.journal(7))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) + 1 {
		for name, rest := range map[string][]byte{"nothing": nil, "zeros": make([]byte, len(whole)-cut), "another run's": append([]byte("x\n"), lineOf(`{"run":8,"started":true}`)...)} {
			if err := os.WriteFile(l.journal(7), append(whole[:cut:cut], rest...), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := l.read(7)
			lines := 0
			for lines < len(ends) && int64(cut) >= ends[lines] {
				lines++
			}
			if lines == 0 {
				whole := name == "another run's" // the half line was ended, so it may have been whole
				if whole != (err == nil && found.damage != nil && found.spec == nil) || !whole && !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("cut at %d, then %s: %v, %v", cut, name, found, err)
				}
				continue
			}
			if err != nil || found.damage != nil || found.spec.GetName() != "two\nlines" || found.task != "c-7" || found.size != ends[lines-1] ||
				(found.starting != "") != (lines > 1) || found.started != (lines > 2) || (found.end != nil) != (lines > 3) {
				t.Fatalf("cut at %d, then %s, %d lines: %+v, %v", cut, name, lines, found, err)
			}
			if err := l.write(found, line{Starting: "another boot"}); err != nil {
				t.Fatal(err)
			}
			if again, err := l.read(7); err != nil || again.starting != "another boot" || again.started != (lines > 2) {
				t.Fatalf("cut at %d, then %s, and written on: %+v, %v", cut, name, again, err)
			}
		}
	}
}

func lineOf(text string) []byte { return fmt.Appendf(nil, "%s %s\n", sumOf([]byte(text)), text) }

func TestWhatIsLeftOfAFolderBeingRemovedIsNoRun(t *testing.T) {
	l := layout{t.TempDir()}
	lock, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := os.MkdirAll(filepath.Join(l.run(7), workDir, tmpDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if found, err := l.list(); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
	if _, err := os.Stat(l.run(7)); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}
