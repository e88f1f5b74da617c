package port

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Mesh joins ports in one process, for tests and simulations. Links between them can be cut.
type Mesh struct {
	mu    sync.Mutex
	ports map[string]*Memory
	cut   map[[2]string]bool
}

// NewMesh makes a mesh without ports.
func NewMesh() *Mesh {
	return &Mesh{ports: map[string]*Memory{}, cut: map[[2]string]bool{}}
}

// ErrUnreachable is what a cut link and an address without a port say.
var ErrUnreachable = errors.New("unreachable")

// Port makes a port of the mesh; it is reachable while it serves.
func (m *Mesh) Port(addr string) *Memory {
	return &Memory{mesh: m, addr: addr, h: newHandlers()}
}

// Cut breaks the link between two addresses, in both directions, with what is open on it.
func (m *Mesh) Cut(a, b string) {
	m.mu.Lock()
	m.cut[link(a, b)] = true
	ports := []*Memory{m.ports[a], m.ports[b]}
	m.mu.Unlock()
	for _, p := range ports {
		if p == nil {
			continue
		}
		p.h.cut(func(c net.Conn) bool {
			mc, ok := c.(*memConn)
			return ok && link(mc.local, mc.remote) == link(a, b)
		})
	}
}

// Heal joins two addresses again.
func (m *Mesh) Heal(a, b string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.cut, link(a, b))
}

func link(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// Memory is a port of a mesh.
type Memory struct {
	mesh *Mesh
	addr string
	h    *handlers
	ctx  context.Context // set by Serve before the port is in the mesh
}

// Addr is the port's name in the mesh.
func (p *Memory) Addr() string { return p.addr }

// Handle says who takes connections of a protocol.
func (p *Memory) Handle(proto string, f Handler) { p.h.set(proto, f) }

// Serve is reachable until ctx ends.
func (p *Memory) Serve(ctx context.Context) error {
	p.ctx = ctx
	p.mesh.mu.Lock()
	if p.mesh.ports[p.addr] != nil {
		p.mesh.mu.Unlock()
		return fmt.Errorf("serve %s: the address is taken", p.addr)
	}
	p.mesh.ports[p.addr] = p
	p.mesh.mu.Unlock()
	<-ctx.Done()
	p.mesh.mu.Lock()
	delete(p.mesh.ports, p.addr)
	p.mesh.mu.Unlock()
	p.h.close()
	return nil
}

// Close has nothing to give back.
func (p *Memory) Close() error { return nil }

// Dial calls another port of the mesh.
func (p *Memory) Dial(_ context.Context, addr, proto string) (net.Conn, error) {
	p.mesh.mu.Lock()
	to, cut := p.mesh.ports[addr], p.mesh.cut[link(p.addr, addr)]
	p.mesh.mu.Unlock()
	if to == nil || cut {
		return nil, fmt.Errorf("call %s for %s: %w", addr, proto, ErrUnreachable)
	}
	f, ok := to.h.get(proto)
	if !ok {
		return nil, fmt.Errorf("call %s for %s: the server does not speak it", addr, proto)
	}
	there, here := pipe(), pipe()
	near := &memConn{in: here, out: there, local: p.addr, remote: addr}
	far := &memConn{in: there, out: here, local: addr, remote: p.addr}
	to.h.start(far, func() { f(to.ctx, far, nil) })
	return near, nil
}

// memConn is one end of a connection in memory. Unlike net.Pipe it has room, as sockets have:
// protocols that write on both sides before they read would stand still otherwise.
type memConn struct {
	in, out       *stream
	local, remote string
}

func (c *memConn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *memConn) Write(b []byte) (int, error) { return c.out.write(b) }
func (c *memConn) Close() error {
	c.in.close()
	c.out.close()
	return nil
}
func (c *memConn) LocalAddr() net.Addr  { return address(c.local) }
func (c *memConn) RemoteAddr() net.Addr { return address(c.remote) }
func (c *memConn) SetDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}
func (c *memConn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}

// SetWriteDeadline does nothing: a write waits only for a reader that is there.
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

const streamRoom = 1 << 20

type stream struct {
	mu     sync.Mutex
	cond   *sync.Cond
	buf    bytes.Buffer
	closed bool
	late   bool // the read deadline has passed
	timer  *time.Timer
}

func pipe() *stream {
	s := &stream{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.late:
			return 0, os.ErrDeadlineExceeded
		case s.buf.Len() > 0:
			n, err := s.buf.Read(b)
			s.cond.Broadcast()
			return n, err
		case s.closed:
			return 0, io.EOF
		}
		s.cond.Wait()
	}
}

func (s *stream) write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.buf.Len() >= streamRoom && !s.closed {
		s.cond.Wait()
	}
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	n, err := s.buf.Write(b)
	s.cond.Broadcast()
	return n, err
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.cond.Broadcast()
}

func (s *stream) setDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.late = false
	if t.IsZero() {
		return
	}
	s.timer = time.AfterFunc(time.Until(t), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.late = true
		s.cond.Broadcast()
	})
}
