package port

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
)

// Mesh is a network in one process, for tests and simulations. Links between its hosts can be cut and stalled. It
// uses no socket, so that it can be waited for in a bubble of testing/synctest.
type Mesh struct {
	mu        sync.Mutex
	listeners map[string]*meshListener
	cut       map[[2]string]bool // by both hosts, in order
	stalled   map[[2]string]bool // by who sends and who waits
	conns     map[*meshConn]struct{}
}

// NewMesh makes a mesh without hosts.
func NewMesh() *Mesh {
	return &Mesh{
		listeners: map[string]*meshListener{}, cut: map[[2]string]bool{}, stalled: map[[2]string]bool{},
		conns: map[*meshConn]struct{}{},
	}
}

// ErrUnreachable is what a cut link and an address where nobody listens say.
var ErrUnreachable = errors.New("unreachable")

// Host is the mesh as one machine sees it. Its addresses are HOST:PORT.
func (m *Mesh) Host(name string) *Host { return &Host{mesh: m, name: name} }

// Host is a machine of a mesh.
type Host struct {
	mesh *Mesh
	name string
}

// Cut breaks the link between two hosts, with what is open on it: both sides see it at once.
func (m *Mesh) Cut(a, b string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut[link(a, b)] = true
	for c := range m.conns {
		if link(c.from, c.to) == link(a, b) {
			c.in.tear()
			c.out.tear()
		}
	}
}

// Stall keeps what one host sends from another, without a sign to either. Heal delivers it.
func (m *Mesh) Stall(from, to string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stalled[[2]string{from, to}] = true
	m.hold(from, to, true)
}

// Heal undoes what Cut and Stall did between two hosts.
func (m *Mesh) Heal(a, b string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.cut, link(a, b))
	for _, way := range [][2]string{{a, b}, {b, a}} {
		delete(m.stalled, way)
		m.hold(way[0], way[1], false)
	}
}

// hold sets the streams of one direction; mu is held.
func (m *Mesh) hold(from, to string, held bool) {
	for c := range m.conns {
		if c.from == from && c.to == to {
			c.out.hold(held)
		}
	}
}

func link(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// Listen takes an address of this host.
func (h *Host) Listen(addr string) (net.Listener, error) {
	m := h.mesh
	m.mu.Lock()
	defer m.mu.Unlock()
	if hostOf(addr) != h.name || m.listeners[addr] != nil {
		return nil, fmt.Errorf("listen on %s: not an address of %s, or taken", addr, h.name)
	}
	l := &meshListener{mesh: m, addr: addr, in: make(chan net.Conn), done: make(chan struct{})}
	m.listeners[addr] = l
	return l, nil
}

func hostOf(addr string) string {
	host, _, _ := strings.Cut(addr, ":")
	return host
}

// Dial calls another host, or this one.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	m, to := h.mesh, hostOf(addr)
	m.mu.Lock()
	l := m.listeners[addr]
	if l == nil || m.cut[link(h.name, to)] {
		m.mu.Unlock()
		// The type tells callers, as it does for TCP, that nothing was sent.
		return nil, &net.OpError{Op: "dial", Net: "mesh", Addr: address(addr), Err: ErrUnreachable}
	}
	there, here := newStream(), newStream()
	near := &meshConn{mesh: m, in: here, out: there, from: h.name, to: to, local: h.name + ":0", remote: addr}
	far := &meshConn{mesh: m, in: there, out: here, from: to, to: h.name, local: addr, remote: h.name + ":0"}
	m.conns[near], m.conns[far] = struct{}{}, struct{}{}
	there.hold(m.stalled[[2]string{h.name, to}])
	here.hold(m.stalled[[2]string{to, h.name}])
	m.mu.Unlock()
	var err error
	select {
	case l.in <- far:
		return near, nil
	case <-l.done:
		err = ErrUnreachable
	case <-ctx.Done():
		err = ctx.Err()
	}
	near.Close()
	far.Close()
	return nil, &net.OpError{Op: "dial", Net: "mesh", Addr: address(addr), Err: err}
}

type meshListener struct {
	mesh *Mesh
	addr string
	in   chan net.Conn
	once sync.Once
	done chan struct{}
}

func (l *meshListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.done:
		return nil, fmt.Errorf("accept on %s: %w", l.addr, net.ErrClosed)
	}
}

func (l *meshListener) Close() error {
	l.once.Do(func() {
		l.mesh.mu.Lock()
		defer l.mesh.mu.Unlock()
		delete(l.mesh.listeners, l.addr)
		close(l.done)
	})
	return nil
}

func (l *meshListener) Addr() net.Addr { return address(l.addr) }
