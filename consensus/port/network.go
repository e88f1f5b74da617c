package port

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// Network carries bytes between addresses: TCP, or a Mesh in one process. What is above it is the same.
type Network interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// TCP is the network of a machine.
type TCP struct{}

// Listen takes an address.
func (TCP) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

// Dial calls one.
func (TCP) Dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: handshakeMax}
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
