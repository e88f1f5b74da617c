package executor

import (
	"testing"
	"time"

	"github.com/coinop/coinop/executor/wire"
)

func TestTaskFreezesWhenNoServerAnswersAndThawsFreeOfCharge(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "run", "200s", "0"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.wait(time.Second)
		m.cluster.change(func() { m.cluster.dead["a:1"] = true })
		m.cluster.cut()
		m.wait(5 * time.Minute)
		m.cluster.change(func() { m.cluster.dead["a:1"] = false })
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_EXITED, 0)
		if m.starts(1) != 1 || len(end.GetFrozen()) != 1 || end.GetFrozen()[0].GetCause() != wire.SpanCause_SPAN_CAUSE_LEASE {
			t.Fatalf("it was started %d times, frozen %v; want once, frozen once for want of a lease", m.starts(1), end.GetFrozen())
		}
		span := end.GetFrozen()[0]
		near(t, "time until it froze", millis(span.GetFromMs()), 60*time.Second, 2*time.Second)
		near(t, "time it did not work", millis(end.GetRanMs()-(span.GetToMs()-span.GetFromMs())), 200*time.Second, 100*time.Millisecond)
	})
}

func TestFrozenTaskIsReportedFrozenWhenTheServersAreBack(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.change(func() { m.cluster.dead["a:1"] = true })
		m.cluster.cut()
		m.wait(2 * time.Minute)
		m.cluster.change(func() { m.cluster.dead["a:1"], m.cluster.mute = false, true })
		status := m.cluster.awaitState(1, wire.RunState_RUN_STATE_FROZEN)
		if n := len(status.GetFrozen()); n != 1 || status.GetFrozen()[0].ToMs != nil {
			t.Errorf("frozen is %v, want one span that goes on", status.GetFrozen())
		}
	})
}

// By the time it is back, its task may run elsewhere: what is on its way to be removed gets no lease to thaw on.
func TestTaskThatIsNoLongerWantedIsNotThawedOnItsWayOut(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.slow = 3 * time.Second }, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.change(func() { m.cluster.dead["a:1"] = true })
		m.cluster.cut()
		m.wait(2 * time.Minute)
		m.mu.Lock()
		before := m.leases
		m.mu.Unlock()
		m.cluster.change(func() { m.cluster.dead["a:1"] = false })
		m.cluster.forget(1)
		m.wait(20 * time.Second)
		m.awaitFolderGone(1)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.leases != before {
			t.Errorf("%d leases were written for a task that nobody wants", m.leases-before)
		}
	})
}

func TestLeaseCountsFromTheSendingOfTheReport(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.cluster.late = 4 * time.Second }, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		sent := m.boot() - m.task(1).LeaseUntil + int64(time.Minute)
		if age := time.Duration(sent); age < 4*time.Second {
			t.Errorf("the lease counts from %s ago, but the answer alone took 4 s", age)
		}
	})
}

func TestNothingStartsOnALapsedLease(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.cluster.lease = 0 }, func(m *machine) {
		m.cluster.order(running(1, "exit", "0"))
		m.wait(time.Minute)
		if m.starts(1) != 0 {
			t.Fatal("it was started without a lease")
		}
		m.cluster.change(func() { m.cluster.lease = time.Minute })
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_EXITED, 0)
	})
}

func TestLeaseEndsNoLaterThanTheMoney(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "block")
		left := int64(20_000)
		run.MoneyLeftMs = &left
		m.cluster.order(run)
		// The set is sent anew with each answer, so the money would be too: from now on it is the same.
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.change(func() { m.cluster.mute = true })
		m.wait(21 * time.Second)
		status := m.cluster.awaitState(1, wire.RunState_RUN_STATE_FROZEN)
		span := status.GetFrozen()[0]
		near(t, "time until it froze", millis(span.GetFromMs()), 20*time.Second, 200*time.Millisecond)
		if span.GetCause() != wire.SpanCause_SPAN_CAUSE_MONEY {
			t.Errorf("it froze for %v, want for money", span.GetCause())
		}
		more := int64(100_000)
		m.cluster.change(func() { m.cluster.mute = false })
		m.cluster.order(but(run, func(o *wire.Order) { o.MoneyLeftMs = &more }))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
	})
}

func TestMoneyThatIsTakenAwayShortensTheLease(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "block")
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		none := int64(0)
		m.cluster.order(but(run, func(o *wire.Order) { o.MoneyLeftMs = &none }))
		status := m.cluster.awaitState(1, wire.RunState_RUN_STATE_FROZEN)
		if status.GetFrozen()[0].GetCause() != wire.SpanCause_SPAN_CAUSE_MONEY {
			t.Errorf("it froze for %v, want for money", status.GetFrozen()[0].GetCause())
		}
	})
}

func TestLeaseReachesLittleBehindTheTimeLimit(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "stubborn")
		run.Spec.TimeLimitMs = 10_000
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.stop() // nobody is there any more who would keep the time
		m.wait(time.Minute)
		m.cluster.change(func() { clear(m.cluster.runs) })
		m.start()
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_TIME_LIMIT, 137)
		near(t, "time until it froze", millis(end.GetFrozen()[0].GetFromMs()), 12*time.Second, 100*time.Millisecond)
	})
}

func TestRunLongGoneLeaseKillsAfterItsGrace(t *testing.T) {
	onMachine(t, func(m *machine) {
		run := running(1, "block")
		run.Spec.LeaseGraceMs = 120_000
		m.cluster.order(run)
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.change(func() { m.cluster.dead["a:1"] = true })
		m.cluster.cut()
		m.wait(5 * time.Minute)
		m.cluster.change(func() { m.cluster.dead["a:1"] = false })
		expectEnd(t, m.cluster.awaitEnd(1), wire.Cause_CAUSE_LEASE, 137)
	})
}

func TestOrdersThatAnswerNoReportGrantNothingAndAreObeyed(t *testing.T) {
	onMachineWith(t, func(m *machine) { m.cluster.blind = true }, func(m *machine) {
		run := running(1, "block")
		left := int64(30_000)
		run.MoneyLeftMs = &left
		stopped := running(2, "block")
		stopped.Want = wire.Want_WANT_STOP
		m.cluster.order(run, stopped)
		expectEnd(t, m.cluster.awaitEnd(2), wire.Cause_CAUSE_STOPPED, codeOurs)
		m.wait(15 * time.Second)
		if m.starts(1) != 0 {
			t.Fatal("it was started without a lease")
		}
		m.cluster.change(func() { m.cluster.blind = false })
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
	})
}

func TestHeartbeatTellsAgainWhatWasNotWrittenDown(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.cluster.order(running(1, "block"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		m.cluster.change(func() { clear(m.cluster.runs) }) // the entry failed
		began := time.Now()
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		near(t, "time until it was told again", time.Since(began), 5*time.Second, 6*time.Second)
	})
}
