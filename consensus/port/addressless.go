package port

import (
	"errors"
	"fmt"
	"net"
)

// Addressless is what an error of a connection says without the addresses of its ends: anybody may knock on the port, and
// who does is not kept.
func Addressless(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}
