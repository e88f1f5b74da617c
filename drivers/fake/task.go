package fake

import (
	"syscall"
	"time"

	"github.com/coinop/coinop/drivers"
)

// nextDeadline is when something will happen to the task if nobody does anything.
func (t *task) nextDeadline() (at int64, ok bool) {
	if t.status.State.Final() {
		return 0, false
	}
	take := func(deadline int64) {
		if !ok || deadline < at {
			at, ok = deadline, true
		}
	}
	if t.since != 0 && t.behaviour.RunFor >= 0 {
		take(t.since + int64(t.behaviour.RunFor) - t.ran)
	}
	if t.until != 0 && !t.byLease {
		take(t.until)
	}
	if t.byLease && t.spec.LeaseGraceMillis > 0 {
		take(t.frozenAt + t.spec.LeaseGraceMillis*int64(time.Millisecond))
	}
	if t.killAt != 0 {
		take(t.killAt)
	}
	return at, ok
}

// timePassed does what is due now.
func (t *task) timePassed() {
	now := t.driver.now
	switch {
	case t.since != 0 && t.behaviour.RunFor >= 0 && now >= t.since+int64(t.behaviour.RunFor)-t.ran:
		exit := t.behaviour.Exit
		if t.killAt != 0 {
			exit.Cause = drivers.CauseStopped
		}
		t.end(drivers.StateExited, exit)
	case t.killAt != 0 && now >= t.killAt:
		t.kill(drivers.CauseStopped)
	case t.until != 0 && !t.byLease && now >= t.until:
		if t.killAt != 0 {
			t.kill(drivers.CauseStopped)
			return
		}
		t.frozenAt = now
		t.freeze(t.byControl, true)
	case t.byLease && t.spec.LeaseGraceMillis > 0:
		t.kill(drivers.CauseLease)
	}
}

func (t *task) kill(cause drivers.ExitCause) {
	t.end(drivers.StateExited, drivers.Exit{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL), Cause: cause})
}

func (t *task) end(state drivers.State, exit drivers.Exit) {
	now := t.driver.now
	t.closeSpan()
	t.since = 0
	t.status.State, t.status.Exit, t.status.EndedBoot, t.status.Pid = state, exit, now, 0
	t.driver.publish(t)
}

func (t *task) closeSpan() {
	if n := len(t.status.Frozen); n > 0 && t.status.Frozen[n-1].To == 0 {
		t.status.Frozen[n-1].To = max(t.driver.now-t.status.StartedBoot, 1)
	}
}

// freeze sets who holds the task frozen; a lapsed lease outranks a command.
func (t *task) freeze(byControl, byLease bool) {
	cause := func(control, lease bool) drivers.FreezeCause {
		switch {
		case lease:
			return drivers.FrozenByLease
		case control:
			return drivers.FrozenByControl
		}
		return ""
	}
	before, after := cause(t.byControl, t.byLease), cause(byControl, byLease)
	t.byControl, t.byLease = byControl, byLease
	if before == after {
		if t.onDisk && t.status.State == drivers.StateFrozen {
			t.status.State = drivers.StateSuspended
			t.driver.publish(t)
		}
		return
	}
	now := t.driver.now
	if before == "" {
		t.ran += now - t.since
		t.since = 0
	} else {
		t.closeSpan()
	}
	if after == "" {
		t.since = now
		t.status.State = drivers.StateRunning
	} else {
		t.status.State = drivers.StateFrozen
		if t.onDisk {
			t.status.State = drivers.StateSuspended
		}
		t.status.Frozen = append(t.status.Frozen, drivers.Span{From: now - t.status.StartedBoot, Cause: after})
	}
	t.driver.publish(t)
}

func (t *task) control(c drivers.Control) error {
	if t.status.State.Final() {
		return drivers.ErrEnded
	}
	switch c.Kind {
	case drivers.Signal:
		return t.signal(c.Signal)
	case drivers.Freeze:
		t.freeze(true, t.byLease)
	case drivers.Thaw:
		if t.onDisk {
			return drivers.ErrInvalid
		}
		t.freeze(false, t.byLease)
	case drivers.Stop:
		t.stop(c)
	case drivers.Kill:
		t.kill(drivers.CauseStopped)
	case drivers.Lease:
		if c.Until <= 0 || t.until == 0 {
			return drivers.ErrInvalid
		}
		t.until = c.Until
		switch lapsed := t.until <= t.driver.now; {
		case lapsed && !t.byLease:
			t.frozenAt = t.driver.now
			t.freeze(t.byControl, true)
		case !lapsed:
			t.freeze(t.byControl, false)
		}
	case drivers.Suspend, drivers.Resume:
		if !t.driver.config.Disk {
			return drivers.ErrUnsupported
		}
		t.onDisk = c.Kind == drivers.Suspend
		t.freeze(t.onDisk, t.byLease)
	case drivers.Export:
		return t.export(c.File)
	default:
		return drivers.ErrInvalid
	}
	return nil
}

func (t *task) stop(c drivers.Control) {
	delay := c.KillDelayMillis
	if delay == 0 {
		delay = t.spec.KillDelayMillis
	}
	signal := c.Signal
	if signal == 0 {
		signal = int(syscall.SIGTERM)
	}
	if t.status.State == drivers.StateFrozen || t.onDisk || delay == 0 {
		t.kill(drivers.CauseStopped)
		return
	}
	if !t.behaviour.IgnoreTerm || signal == int(syscall.SIGKILL) {
		t.end(drivers.StateExited, drivers.Exit{Code: 128 + signal, Signal: signal, Cause: drivers.CauseStopped})
		return
	}
	if at := t.driver.now + delay*int64(time.Millisecond); t.killAt == 0 || at < t.killAt {
		t.killAt = at
	}
}

// signal ends the task by the signals that end a program by default, unless it ignores SIGTERM.
func (t *task) signal(n int) error {
	switch s := syscall.Signal(n); {
	case n < 1 || n > 64:
		return drivers.ErrInvalid
	case s == syscall.SIGKILL, !t.behaviour.IgnoreTerm && (s == syscall.SIGTERM || s == syscall.SIGINT || s == syscall.SIGHUP):
		t.end(drivers.StateExited, drivers.Exit{Code: 128 + n, Signal: n, Cause: drivers.CauseSignalled})
	}
	return nil
}
