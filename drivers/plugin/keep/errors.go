package keep

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errors pairs the errors of a contract with the codes that carry them.
type Errors map[codes.Code]error

// ToWire is an error as gRPC carries it.
func (e Errors) ToWire(err error) error {
	if err == nil {
		return nil
	}
	for code, kind := range e {
		if errors.Is(err, kind) {
			return status.Error(code, err.Error())
		}
	}
	return status.Error(codes.Internal, err.Error())
}

// FromWire is what the other side meant.
func (e Errors) FromWire(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	return &remoteError{text: s.Message(), kind: e[s.Code()]}
}

// remoteError has the other side's words, and is one of the contract's errors.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }
