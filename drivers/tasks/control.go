package tasks

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
)

// Control implements drivers.Driver.
func (d *Set) Control(ctx context.Context, id string, c drivers.Control) error {
	t, err := d.find(id)
	if err != nil {
		return err
	}
	var m shim.Message
	switch c.Kind {
	case drivers.Signal:
		m = shim.Message{Kind: shim.CommandSignal, Signal: uint32(c.Signal), Group: c.Group}
	case drivers.Freeze:
		m = shim.Message{Kind: shim.CommandFreeze}
	case drivers.Thaw:
		m = shim.Message{Kind: shim.CommandThaw}
	case drivers.Stop:
		m = shim.Message{Kind: shim.CommandStop, Signal: uint32(c.Signal), Arg: uint64(c.KillDelayMillis)}
	case drivers.Kill:
		m = shim.Message{Kind: shim.CommandKill}
	case drivers.Lease:
		err = t.lease(ctx, c.Until)
	case drivers.Suspend, drivers.Resume, drivers.Export:
		err = drivers.ErrUnsupported
	default:
		err = fmt.Errorf("%w: command %d", drivers.ErrInvalid, c.Kind)
	}
	if c.Signal < 0 || c.Signal > 64 || c.KillDelayMillis < 0 {
		err = fmt.Errorf("%w: signal %d, kill delay %d ms", drivers.ErrInvalid, c.Signal, c.KillDelayMillis)
	}
	if err == nil && m.Kind != 0 {
		err = t.command(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("control task %s: %w", id, err)
	}
	return nil
}

// command sends a command to the shim and waits until it is obeyed.
func (t *task) command(ctx context.Context, m shim.Message) error {
	begun, err := t.until(ctx, func(r shim.Record) bool { return r.State >= shim.Running })
	if err != nil {
		return err
	}
	select {
	case t.send <- struct{}{}:
		defer func() { <-t.send }()
	case <-ctx.Done():
		return fmt.Errorf("wait for an earlier command: %w", context.Cause(ctx))
	}
	m.Seq = t.driver.epoch + t.driver.commands.Add(1)
	if err := shim.Send(t.path, int(begun.ShimPid), m); errors.Is(err, shim.ErrNoShim) {
		return drivers.ErrEnded
	} else if err != nil {
		return err
	}
	answer, err := t.until(ctx, func(r shim.Record) bool { return r.Ack == m.Seq })
	if err != nil {
		return err
	}
	switch errno := unix.Errno(answer.AckErrno); errno {
	case 0:
		return nil
	case unix.ESRCH:
		return drivers.ErrEnded
	case unix.EINVAL:
		return drivers.ErrInvalid
	default:
		return errno
	}
}

// lease renews by writing a file, which costs no message; the shim looks there when the old deadline comes. Only what must
// show at once is told to it: an earlier deadline, or the end of a freeze.
func (t *task) lease(ctx context.Context, until int64) error {
	if until <= 0 {
		return fmt.Errorf("%w: a lease until %d", drivers.ErrInvalid, until)
	}
	t.mu.Lock()
	before, final, removed, frozen := t.leaseUntil, t.final, t.removed, t.record.State == shim.Frozen
	if before != 0 && !final && !removed {
		t.leaseUntil = until
	}
	t.mu.Unlock()
	switch {
	case removed:
		return drivers.ErrNoTask
	case final:
		return drivers.ErrEnded
	case before == 0:
		return fmt.Errorf("%w: the task was started without a lease", drivers.ErrInvalid)
	}
	if err := shim.WriteLease(t.path, until); err != nil {
		return err
	}
	if !frozen && until >= before {
		return nil
	}
	return t.command(ctx, shim.Message{Kind: shim.CommandLease})
}
