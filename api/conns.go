package api

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Guard bounds the connections that a listener takes, in all and from each address. Those beyond it are closed at once:
// nothing was read from them, and nothing is owed to them.
func (a *API) Guard(ln net.Listener) net.Listener { return &guarded{Listener: ln, api: a} }

type guarded struct {
	net.Listener
	api  *API
	open atomic.Int64
}

// Accept is part of [net.Listener].
func (g *guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var addr netip.Addr
		if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
			addr = ap.Addr()
		}
		l := g.api.limits
		if g.open.Add(1) <= int64(l.ConnsMax) {
			if end := g.api.addresses.count(addr, now(), func(m *meter) *int { return &m.conns }, l.AddressConns); end != nil {
				return &guardedConn{Conn: conn, end: sync.OnceFunc(func() { g.open.Add(-1); end() })}, nil
			}
		}
		g.open.Add(-1)
		conn.Close()
	}
}

type guardedConn struct {
	net.Conn
	end func()
}

// Close is part of [net.Conn].
func (c *guardedConn) Close() error {
	c.end()
	return c.Conn.Close()
}
