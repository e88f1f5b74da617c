package drivertest

import (
	"context"
	"testing"

	"github.com/coinop/coinop/drivers"
)

// Living is a driver in this process that can be ended and begun again, as by a restart of its process.
type Living[D interface {
	drivers.Driver
	Run(ctx context.Context) error
}] struct {
	T      testing.TB
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
