package monitor

import (
	"context"
	"errors"
	"runtime"

	"github.com/coinop/coinop/drivers/vm/guest"
)

// Probe starts a machine, and returns when its first process has spoken, or the reason why it did not.
func Probe(ctx context.Context, box string, o Order) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	q, err := start(box, o, nil)
	if err != nil {
		return err
	}
	defer q.end()
	heard := make(chan error, 1)
	go func() {
		_, err := guest.Read(q.guest, guest.TellMax)
		heard <- err
	}()
	select {
	case err = <-heard:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil && q.said.line("") != "" {
		err = errors.New(q.said.line(""))
	}
	return err
}
