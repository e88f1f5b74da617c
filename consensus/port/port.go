// Package port is the one address of a server, which several protocols share.
package port

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Handler owns a connection that came in; peer is nil where the protocol asks for no certificate.
// It returns when it is done with the connection, which is closed then.
type Handler func(ctx context.Context, conn net.Conn, peer *x509.Certificate)

// ErrClosed is what a closed port says.
var ErrClosed = errors.New("the port is closed")

// handlers is the table of protocols and the connections that their handlers hold.
type handlers struct {
	mu    sync.Mutex
	by    map[string]Handler
	conns map[net.Conn]*x509.Certificate // whose, once known; nil once closed
	wait  sync.WaitGroup
}

func newHandlers() *handlers {
	return &handlers{by: map[string]Handler{}, conns: map[net.Conn]*x509.Certificate{}}
}

func (h *handlers) set(proto string, f Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f == nil {
		delete(h.by, proto)
		return
	}
	h.by[proto] = f
}

func (h *handlers) get(proto string) (Handler, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, ok := h.by[proto]
	return f, ok
}

func (h *handlers) protos() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]string, 0, len(h.by))
	for p := range h.by {
		list = append(list, p)
	}
	return list
}

// start runs f with conn on a goroutine of its own, which close waits for.
func (h *handlers) start(conn net.Conn, f func()) {
	h.mu.Lock()
	if h.conns == nil {
		h.mu.Unlock()
		conn.Close()
		return
	}
	h.conns[conn] = nil
	h.wait.Add(1)
	h.mu.Unlock()
	go func() {
		defer h.wait.Done()
		defer func() {
			conn.Close()
			h.mu.Lock()
			delete(h.conns, conn)
			h.mu.Unlock()
		}()
		f()
	}()
}

// is notes whose a connection is.
func (h *handlers) is(conn net.Conn, peer *x509.Certificate) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, open := h.conns[conn]; open {
		h.conns[conn] = peer
	}
}

// drop closes the connections of the peers that are gone.
func (h *handlers) drop(gone func(peer *x509.Certificate) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c, peer := range h.conns {
		if peer != nil && gone(peer) {
			c.Close()
		}
	}
}

func (h *handlers) close() {
	h.mu.Lock()
	conns := h.conns
	h.conns = nil
	h.mu.Unlock()
	for c := range conns {
		c.Close()
	}
	h.wait.Wait()
}

// Listener gives the connections of one protocol to something that wants a net.Listener, such as
// http.Server. A connection that nobody accepts is held until the port or the listener closes.
type Listener struct {
	addr net.Addr
	in   chan net.Conn
	once sync.Once
	done chan struct{}
}

// NewListener makes a listener; its Handle is what the port is given.
func NewListener(addr string) *Listener {
	return &Listener{addr: address(addr), in: make(chan net.Conn), done: make(chan struct{})}
}

// Handle is a Handler that passes the connection on and waits until it is closed.
func (l *Listener) Handle(ctx context.Context, conn net.Conn, _ *x509.Certificate) {
	held := &heldConn{Conn: conn, closed: make(chan struct{})}
	select {
	case l.in <- held:
	case <-l.done:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-held.closed:
	case <-ctx.Done():
	}
}

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.done:
		return nil, fmt.Errorf("accept: %w", net.ErrClosed)
	}
}

// Close makes Accept return.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr is the port's address as others know it.
func (l *Listener) Addr() net.Addr { return l.addr }

type heldConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *heldConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }
