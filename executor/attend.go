package executor

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

// attendRetry is how long after a failure it is tried again to carry out an order.
const attendRetry = time.Second

// attend makes a started task follow its orders and its time limit, until it has ended.
func (r *run) attend(ctx context.Context) (drivers.Status, error) {
	timer := time.NewTimer(time.Duration(noEnd))
	defer timer.Stop()
	defer r.unstow()
	for {
		r.mu.Lock()
		status, order, dropped, restarts := r.status, r.order, r.dropped, r.restarts
		over := r.leaving || r.fault != ""
		disowned := r.disowned
		r.mu.Unlock()
		if disowned != nil {
			return status, disowned
		}
		if status.State.Final() {
			return status, r.config.step(r.id, "final")
		}
		if dropped {
			return status, errUnwanted
		}
		err := r.show(status)
		if err == nil && restarts != r.epoch {
			r.epoch = restarts
			if status, err = r.ask(ctx); err == nil {
				r.observe(status)
			}
		}
		if err == nil && over && !r.killed {
			r.killed = true
			err = r.control(ctx, drivers.Control{Kind: drivers.Kill})
		}
		if err == nil {
			err = r.follow(ctx, status, order)
		}
		if err == nil {
			err = r.limit(ctx, status, timer)
		}
		switch {
		case err == nil, errors.Is(err, drivers.ErrEnded): // its last status is on its way
		case ctx.Err() != nil, errors.Is(err, errHalted), errors.Is(err, drivers.ErrNoTask), errors.Is(err, drivers.ErrBroken):
			return status, err
		default:
			r.log.Warn("a run cannot be attended as it should; trying again", "run", r.id, "error", err)
			if err := pause(ctx, attendRetry); err != nil { // whatever has changed: it may be this very attempt that changed it
				return status, err
			}
			continue
		}
		select {
		case <-r.changed:
		case <-timer.C:
		case <-ctx.Done():
			return status, ctx.Err()
		}
	}
}

// show lets reports tell status, once it is on disk that the first process was there. If that cannot be written the
// status is told all the same: it is what the task is billed by.
func (r *run) show(status drivers.Status) error {
	if status.StartedBoot != 0 && !r.journal.started {
		if err := r.layout.write(r.journal, line{Started: true}); err != nil {
			r.log.Warn("it could not be kept that a task started", "run", r.id, "error", err)
			r.diskFailed(err)
		}
		r.journal.started = true
		if err := r.config.step(r.id, "running"); err != nil {
			return err
		}
	}
	r.mu.Lock()
	changed := r.shown.State != status.State || len(r.shown.Frozen) != len(status.Frozen) || r.shown.StartedBoot != status.StartedBoot
	r.shown = status
	r.mu.Unlock()
	if changed {
		r.report(r)
	}
	return nil
}

// follow carries out the order unless it has been already.
func (r *run) follow(ctx context.Context, status drivers.Status, order *wire.Order) error {
	if order == nil || order.GetVersion() == r.obeyed && !r.unsure {
		return nil
	}
	if err := r.warn(ctx, order); err != nil {
		return err
	}
	if r.unsure && status.State == drivers.StateSuspended {
		r.paused, r.asleep = true, true
	}
	if err := r.want(ctx, order); err != nil {
		return err
	}
	r.obeyed, r.unsure = order.GetVersion(), false
	r.mu.Lock()
	r.version = order.GetVersion()
	r.mu.Unlock()
	r.report(r)
	return nil
}

func (r *run) want(ctx context.Context, order *wire.Order) error {
	switch order.GetWant() {
	case wire.Want_WANT_PAUSE, wire.Want_WANT_SUSPEND:
		return r.pause(ctx, order)
	case wire.Want_WANT_STOP:
		return r.stop(ctx, order.GetSignal(), order.GetKillDelayMs())
	case wire.Want_WANT_RUN:
		return r.goOn(ctx)
	}
	return nil
}

// pause freezes the task, and brings it to disk if it is to be suspended, and to the servers if they have not got it.
func (r *run) pause(ctx context.Context, order *wire.Order) error {
	if !r.paused {
		err := r.control(ctx, drivers.Control{Kind: drivers.Freeze})
		if impossible(err) {
			// It must not run on unpaid: what cannot wait has to end.
			return r.stop(ctx, 0, r.spec().GetKillDelayMs())
		}
		if err != nil {
			return err
		}
		r.paused = true
	}
	if order.GetWant() != wire.Want_WANT_SUSPEND {
		return nil
	}
	if !r.asleep {
		err := r.control(ctx, drivers.Control{Kind: drivers.Suspend})
		if impossible(err) {
			return nil // it waits where it is
		}
		if err != nil {
			return err
		}
		r.asleep = true
		r.mu.Lock()
		r.slept = r.config.Boot()
		r.mu.Unlock()
	}
	if !order.GetStored() {
		r.stow(ctx)
	}
	return nil
}

// goOn takes back what pause has done, or an earlier executor may have.
func (r *run) goOn(ctx context.Context) error {
	if !r.paused && !r.unsure {
		return nil
	}
	kind := drivers.Thaw
	if r.asleep {
		kind = drivers.Resume
		r.unstow()
		r.mu.Lock()
		r.slept = 0 // or the next time it would be told as of this one
		r.mu.Unlock()
	}
	err := r.control(ctx, drivers.Control{Kind: kind})
	if impossible(err) && !r.asleep {
		err = nil
	}
	if err == nil {
		r.paused, r.asleep = false, false
	}
	return err
}

// stop begins to end the task. The shim kills it after the delay even if this executor is gone by then; a stop that is
// repeated never puts off the end.
func (r *run) stop(ctx context.Context, signal int32, killDelayMillis int64) error {
	r.stopped = true
	if killDelayMillis <= 0 {
		return r.control(ctx, drivers.Control{Kind: drivers.Kill})
	}
	err := r.control(ctx, drivers.Control{Kind: drivers.Stop, Signal: int(signal), KillDelayMillis: killDelayMillis})
	if impossible(err) {
		return r.control(ctx, drivers.Control{Kind: drivers.Kill})
	}
	return err
}

func (r *run) control(ctx context.Context, c drivers.Control) error {
	driver := r.config.Drivers[r.spec().GetDriver()]
	err := again(ctx, func() error { return driver.Control(ctx, r.journal.task, c) })
	if err != nil {
		return fmt.Errorf("control task %s: %w", r.journal.task, err)
	}
	return nil
}

// limit begins to stop the task when its time limit comes near, and sets the timer for that. The timer counts on a clock
// that stands still while the machine sleeps, so each time it fires the boot time is asked.
func (r *run) limit(ctx context.Context, status drivers.Status, timer *time.Timer) error {
	limit := r.limitNs()
	if limit == 0 || status.StartedBoot == 0 || r.struck || !r.ordered() {
		return nil
	}
	delay := min(r.spec().GetKillDelayMs()*int64(time.Millisecond), limit)
	now := r.config.Boot()
	if wait := status.StartedBoot + limit - delay - now; wait > 0 {
		timer.Reset(time.Duration(wait))
		return nil
	}
	r.struck = true
	left := (status.StartedBoot + limit - now) / int64(time.Millisecond)
	if err := r.writeNotice(&wire.Notice{
		Reason: "time limit", Signal: int32(syscall.SIGTERM), AtUnixMs: r.clusterTime(status.StartedBoot + limit),
	}); err != nil {
		r.log.Warn("a notice could not be written", "run", r.id, "error", err)
	}
	return r.stop(ctx, int32(syscall.SIGTERM), left)
}

// limitNs is the task's time limit counted from its first process, moved by its owner and by the time for which it was suspended; zero
// where there is none.
func (r *run) limitNs() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limitNow()
}

// limitNow is limitNs for who holds mu.
func (r *run) limitNow() int64 {
	ms := r.spec().GetTimeLimitMs()
	if moved := r.order.GetLimitMs(); moved != 0 {
		ms = max(0, moved)
	}
	return ms * int64(time.Millisecond)
}

// ordered says whether the servers have named the run to this executor. Until then its limit may be another than its spec says; that
// it may run on beyond it needs a lease, which comes with an order.
func (r *run) ordered() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.order != nil }

// impossible says that a driver will never do what was asked.
func impossible(err error) bool {
	return errors.Is(err, drivers.ErrUnsupported) || errors.Is(err, drivers.ErrInvalid)
}
