package executor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/fake"
	"github.com/coinop/coinop/executor/wire"
)

// knows says whether the driver has a task of a run.
func (m *machine) knows(run uint64) bool {
	_, err := m.driver.Usage(m.t.Context(), fmt.Sprintf("ctestcluster-%d", run))
	return !errors.Is(err, drivers.ErrNoTask)
}

func TestTasksOfALyingDriverEndAsOurFaultAndNothingOfThemIsLeft(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "block"), running(2, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.awaitState(2, wire.RunState_RUN_STATE_RUNNING)
		m.mu.Lock()
		m.broken = fmt.Errorf("%w: its start has moved", drivers.ErrBroken)
		m.mu.Unlock()
		m.setAway(true) // its process is ended
		m.setAway(false)
		for run := uint64(1); run <= 2; run++ {
			end := m.cluster.awaitEnd(run)
			expectEnd(t, end, wire.Cause_CAUSE_FAULT, codeOurs)
			if !strings.Contains(end.GetEnd().GetMessage(), "its start has moved") {
				t.Errorf("the reason told is %q", end.GetEnd().GetMessage())
			}
			if m.knows(run) { // it may run elsewhere now
				t.Errorf("run %d was told as failed, and its task is still there", run)
			}
		}
		m.cluster.order(running(3, "exit", "0"))
		expectEnd(t, m.cluster.awaitEnd(3), wire.Cause_CAUSE_EXITED, 0)
	})
}

// dishonest is a driver whose figures cannot be.
type dishonest struct{ *moody }

func (d dishonest) Usage(context.Context, string) (drivers.Usage, error) {
	return drivers.Usage{}, fmt.Errorf("%w: a week of processor time in a second", drivers.ErrBroken)
}

func TestARunWhoseFiguresCannotBeIsOurFault(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.config.Drivers["fake"] = dishonest{&moody{m.driver, m}} }, func(m *machine) {
		m.cluster.order(running(1, "exit", "0"))
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, codeOurs)
	})
}

// A driver that does not come back: when its tasks are frozen for certain, they are told as failed; they are removed when it does.
func TestTasksOfADriverThatStaysAwayAreGivenUpWhenTheirLeasesHaveLapsed(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.wait(15 * time.Second)
		m.setAway(true)
		m.wait(30 * time.Second)
		if end := locked(m.cluster, func() *wire.End { return m.cluster.runs[1].GetEnd() }); end != nil {
			t.Fatalf("half a minute after the driver went its task is given up: %v", end)
		}
		m.wait(time.Minute)
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_FAULT, codeOurs)
		s, err := m.driver.Start(t.Context(), drivers.Task{ID: "ctestcluster-1", Argv: []string{"block"}})
		if err != nil || s.State != drivers.StateFrozen {
			t.Errorf("a task that was given up is %s, %v", s.State, err)
		}
		m.setAway(false)
		m.wait(15 * time.Second)
		if s, err := m.driver.Start(t.Context(), drivers.Task{ID: "ctestcluster-1", Argv: []string{"block"}}); err != nil || s.State != drivers.StateFrozen {
			t.Errorf("a task that was given up is %s again, %v", s.State, err)
		}
		m.cluster.forget(1)
		m.wait(5 * time.Second)
		if m.knows(1) {
			t.Error("a task that was given up is still there")
		}
	})
}

// hung is a driver that answers nothing but what it is.
type hung struct{ *fake.Driver }

func (h hung) Control(ctx context.Context, _ string, _ drivers.Control) error {
	<-ctx.Done()
	return drivers.ErrUnavailable
}

func TestADriverThatHangsCostsNoOthersTheirLeases(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.config.Drivers["hung"] = hung{m.driver} }, func(m *machine) {
		other := running(2, "block")
		other.Spec.Driver = "hung"
		m.cluster.order(running(1, "block"), other)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.awaitState(2, wire.RunState_RUN_STATE_RUNNING)
		m.wait(5 * time.Minute)
		frozen := locked(m.cluster, func() [2]bool {
			return [2]bool{m.cluster.runs[1].GetState() == wire.RunState_RUN_STATE_FROZEN, m.cluster.runs[2].GetState() == wire.RunState_RUN_STATE_FROZEN}
		})
		if frozen != [2]bool{false, true} {
			t.Errorf("for want of a lease frozen: %v", frozen)
		}
	})
}

// mute never says what it can do.
type mute struct{ *fake.Driver }

func (mute) Describe(ctx context.Context) (drivers.Description, error) {
	<-ctx.Done()
	return drivers.Description{}, drivers.ErrUnavailable
}

func TestADriverThatSaysNothingHoldsUpNoOther(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.config.Drivers["mute"] = mute{m.driver} }, func(m *machine) {
		m.cluster.await("facts", func() bool { return up(m.cluster.facts) == 1 })
		if took := time.Since(m.began); took > 3*time.Second {
			t.Errorf("the others were offered after %s", took)
		}
		m.cluster.await("it is said", func() bool {
			for _, d := range m.cluster.facts.GetDrivers() {
				if d.GetName() == "mute" && d.GetState() == wire.DriverState_DRIVER_STATE_STARTING && d.GetReason() == "it has not answered yet" {
					return true
				}
			}
			return false
		})
	})
}

func TestATaskThatNoRunKnowsIsRemoved(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.await("facts", func() bool { return m.cluster.facts != nil })
		dir := filepath.Join(t.TempDir(), "task")
		if _, err := m.driver.Start(t.Context(), drivers.Task{ID: "ctestcluster-9", Dir: dir, WorkDir: dir, Argv: []string{"block"}}); err != nil {
			t.Fatal(err)
		}
		m.wait(time.Second)
		if m.knows(9) {
			t.Error("it is still there")
		}
	})
}

func TestADriverThatMakesTasksUpIsFoundOut(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.lies = make(chan drivers.Status) }, func(m *machine) {
		m.cluster.await("facts", func() bool { return m.cluster.facts != nil })
		for range 2 {
			m.lies <- drivers.Status{ID: "another", State: drivers.StateRunning, StartedBoot: m.boot()}
			m.wait(time.Second)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.doubts) != 1 || !strings.Contains(m.doubts[0].Error(), `task "another"`) {
			t.Errorf("it is accused of %v", m.doubts)
		}
	})
}

// What the driver's answer said may be older than what was heard meanwhile.
func TestAnOlderWordDoesNotTakeAStartBack(t *testing.T) {
	r := newRun(&Executor{}, 1)
	r.observe(drivers.Status{State: drivers.StateRunning, StartedBoot: 5})
	r.observe(drivers.Status{State: drivers.StateStarting})
	if r.status.State != drivers.StateRunning {
		t.Errorf("a task that runs is %s", r.status.State)
	}
}
