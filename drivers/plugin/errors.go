package plugin

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/plugin/keep"
)

func kinds() keep.Errors {
	return keep.Errors{
		codes.Unimplemented:      drivers.ErrUnsupported,
		codes.NotFound:           drivers.ErrNoTask,
		codes.FailedPrecondition: drivers.ErrEnded,
		codes.InvalidArgument:    drivers.ErrInvalid,
		codes.Unavailable:        drivers.ErrUnavailable,
		codes.DeadlineExceeded:   context.DeadlineExceeded,
		codes.Canceled:           context.Canceled,
	}
}

func toWire(err error) error   { return kinds().ToWire(err) }
func fromWire(err error) error { return kinds().FromWire(err) }
