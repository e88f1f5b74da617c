package port

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestAnErrorIsToldWithoutAddresses(t *testing.T) {
	reset := &net.OpError{
		Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}, Addr: &net.TCPAddr{IP: net.IPv4(10, 9, 8, 7), Port: 2}, Err: syscall.ECONNRESET,
	}
	told := Addressless(fmt.Errorf("read a line: %w", reset))
	if strings.Contains(told.Error(), "10.") || !errors.Is(told, syscall.ECONNRESET) {
		t.Errorf("it is told as %q", told)
	}
	if other := errors.New("no protocol was named"); !errors.Is(Addressless(other), other) {
		t.Error("another error is not told as it is")
	}
}
