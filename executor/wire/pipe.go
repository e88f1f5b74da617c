package wire

import (
	"errors"
	"net"
	"sync"
)

// Pipe connects servers and node within this process, without bytes on a wire. It works in the bubbles of
// testing/synctest, where yamux does not: that keeps timers for later use by anybody.
func Pipe(servers ServersServer, node NodeServer) (*Session, *Link, error) {
	closed := make(chan struct{})
	once := &sync.Once{}
	a := &pipeEnd{incoming: make(chan net.Conn), closed: closed, once: once}
	b := &pipeEnd{incoming: make(chan net.Conn), closed: closed, once: once}
	a.other, b.other = b, a
	session, err := newSession(a, servers)
	if err != nil {
		return nil, nil, err
	}
	link, err := newLink(b, node)
	if err != nil {
		return nil, nil, errors.Join(err, session.Close())
	}
	return session, link, nil
}

// pipeEnd is one end of a mux within a process; both ends close together.
type pipeEnd struct {
	other    *pipeEnd
	incoming chan net.Conn
	closed   chan struct{}
	once     *sync.Once

	mu    sync.Mutex
	conns []net.Conn // to close with the end
}

// Open implements mux.
func (p *pipeEnd) Open() (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.other.incoming <- theirs:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.conns = append(p.conns, ours)
		return ours, nil
	case <-p.closed:
		return nil, errors.Join(net.ErrClosed, ours.Close(), theirs.Close())
	}
}

// Accept implements net.Listener.
func (p *pipeEnd) Accept() (net.Conn, error) {
	select {
	case conn := <-p.incoming:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Closing one side of a net.Pipe ends the other.
func (p *pipeEnd) Close() error {
	p.once.Do(func() { close(p.closed) })
	var err error
	for _, end := range []*pipeEnd{p, p.other} {
		end.mu.Lock()
		for _, conn := range end.conns {
			err = errors.Join(err, conn.Close())
		}
		end.conns = nil
		end.mu.Unlock()
	}
	return err
}

// CloseChan implements mux.
func (p *pipeEnd) CloseChan() <-chan struct{} { return p.closed }

// Addr implements net.Listener.
func (p *pipeEnd) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
