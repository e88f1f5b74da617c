package plugin

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coinop/coinop/drivers"
)

// kinds pairs the errors of the contract with the codes that carry them.
func kinds() map[codes.Code]error {
	return map[codes.Code]error{
		codes.Unimplemented:      drivers.ErrUnsupported,
		codes.NotFound:           drivers.ErrNoTask,
		codes.FailedPrecondition: drivers.ErrEnded,
		codes.InvalidArgument:    drivers.ErrInvalid,
		codes.Unavailable:        drivers.ErrUnavailable,
		codes.DeadlineExceeded:   context.DeadlineExceeded,
		codes.Canceled:           context.Canceled,
	}
}

func toWire(err error) error {
	if err == nil {
		return nil
	}
	for code, kind := range kinds() {
		if errors.Is(err, kind) {
			return status.Error(code, err.Error())
		}
	}
	return status.Error(codes.Internal, err.Error())
}

// remoteError has the other side's words, and is one of the contract's errors.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func fromWire(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	return &remoteError{text: s.Message(), kind: kinds()[s.Code()]}
}
