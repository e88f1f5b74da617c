package consensus

import (
	"context"
	"crypto/x509"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/consensus/port"
)

// streamLayer lets raft's transport use the cluster port.
type streamLayer struct {
	*port.Listener
	port *port.TLS
}

func newStreamLayer(p *port.TLS) *streamLayer {
	return &streamLayer{Listener: port.NewListener(p.Addr()), port: p}
}

func (s *streamLayer) handle(ctx context.Context, c net.Conn, peer *x509.Certificate) {
	s.Handle(ctx, c, peer)
}

// Dial is part of raft.StreamLayer.
func (s *streamLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.port.Dial(ctx, string(addr), ProtoRaft)
}
