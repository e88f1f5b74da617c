package port

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Network carries bytes between addresses: TCP, or a Mesh in one process. What is above it is the same.
type Network interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// TCP is the network of a machine.
type TCP struct{}

// silenceMax is after how long a connection breaks whose bytes nobody has confirmed. TCP by itself tries for a quarter of an
// hour, ever more seldom: long after a net has healed, questions would go into connections that it broke.
const silenceMax = 10 * time.Second

// breakWhenSilent makes a TCP socket break then.
func breakWhenSilent(_, _ string, socket syscall.RawConn) error {
	var failed error
	err := socket.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silenceMax.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}

// Listen takes an address.
func (TCP) Listen(addr string) (net.Listener, error) {
	l := net.ListenConfig{Control: breakWhenSilent}
	return l.Listen(context.Background(), "tcp", addr)
}

// Dial calls one.
func (TCP) Dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: handshakeMax, Control: breakWhenSilent}
	return d.DialContext(ctx, "tcp", addr)
}

// DialTLS calls an address and shakes hands.
func DialTLS(ctx context.Context, network Network, addr string, config *tls.Config) (net.Conn, error) {
	raw, err := network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeMax)
	defer cancel()
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("shake hands: %w", err)
	}
	return conn, nil
}
