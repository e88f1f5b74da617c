package drivertest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
)

// Living is a driver in this process that can be ended and begun again, as by a restart of its process.
type Living[D interface {
	drivers.Driver
	Run(ctx context.Context) error
}] struct {
	T      testing.TB
	Dir    string // the driver's own
	Make   func() (D, error)
	Driver D
	End    func() // of the driver in Driver
}

// Begin makes the driver and lets it run until End.
func (l *Living[D]) Begin() error {
	d, err := l.Make()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	l.Driver = d
	l.End = func() {
		cancel()
		if err := <-ended; err != nil {
			l.T.Error(err)
		}
	}
	return nil
}

// Leave ends the driver, and before it all its tasks: the folders of a test that gave up over one of them go next, and nobody would
// find that task again.
func (l *Living[D]) Leave() {
	defer l.End()
	ids, err := shim.Names(filepath.Join(l.Dir, "tasks"))
	if err != nil {
		l.T.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, id := range ids {
		if err := l.Driver.Remove(ctx, id); err != nil {
			l.T.Error(err)
		}
	}
}
