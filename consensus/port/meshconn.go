package port

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// meshConn is one end of a connection in memory. Unlike net.Pipe it has room, as sockets have: protocols that write on
// both sides before they read would stand still otherwise.
type meshConn struct {
	mesh          *Mesh
	in, out       *stream
	from, to      string // hosts
	local, remote string
}

func (c *meshConn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *meshConn) Write(b []byte) (int, error) { return c.out.write(b) }

func (c *meshConn) Close() error {
	c.mesh.mu.Lock()
	delete(c.mesh.conns, c)
	c.mesh.mu.Unlock()
	c.in.abandon()
	c.out.finish()
	return nil
}

func (c *meshConn) LocalAddr() net.Addr  { return address(c.local) }
func (c *meshConn) RemoteAddr() net.Addr { return address(c.remote) }

func (c *meshConn) SetDeadline(t time.Time) error {
	c.in.reading.set(c.in, t)
	c.out.writing.set(c.out, t)
	return nil
}

func (c *meshConn) SetReadDeadline(t time.Time) error {
	c.in.reading.set(c.in, t)
	return nil
}

func (c *meshConn) SetWriteDeadline(t time.Time) error {
	c.out.writing.set(c.out, t)
	return nil
}

const streamRoom = 1 << 20

// stream is what flows one way.
type stream struct {
	mu       sync.Mutex
	cond     *sync.Cond
	buf      bytes.Buffer
	held     bool // what was written is not to be seen, nor that the writer has gone
	finished bool // by the writer
	gone     bool // the reader
	torn     bool // the link was cut

	reading, writing deadline
}

func newStream() *stream {
	s := &stream{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.gone:
			return 0, net.ErrClosed
		case s.reading.late:
			return 0, os.ErrDeadlineExceeded
		case s.torn:
			return 0, fmt.Errorf("read: %w", ErrUnreachable)
		case s.held:
		case s.buf.Len() > 0:
			n, err := s.buf.Read(b)
			s.cond.Broadcast()
			return n, err
		case s.finished:
			return 0, io.EOF
		}
		s.cond.Wait()
	}
}

func (s *stream) write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.finished:
			return 0, net.ErrClosed
		case s.writing.late:
			return 0, os.ErrDeadlineExceeded
		case s.torn, s.gone && !s.held:
			return 0, fmt.Errorf("write: %w", ErrUnreachable)
		case s.buf.Len() < streamRoom:
			n, err := s.buf.Write(b)
			s.cond.Broadcast()
			return n, err
		}
		s.cond.Wait()
	}
}

func (s *stream) finish()        { s.change(func() { s.finished = true; s.writing.stop() }) }
func (s *stream) abandon()       { s.change(func() { s.gone = true; s.reading.stop() }) }
func (s *stream) tear()          { s.change(func() { s.torn = true }) }
func (s *stream) hold(held bool) { s.change(func() { s.held = held }) }

func (s *stream) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	s.cond.Broadcast()
}

// deadline is guarded by its stream's mutex.
type deadline struct {
	late  bool
	timer *time.Timer
	turn  int // tells a timer that was replaced while it fired
}

func (d *deadline) stop() {
	d.turn++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) set(s *stream, t time.Time) {
	s.change(func() {
		d.stop()
		d.late = !t.IsZero() && !t.After(time.Now())
		if t.IsZero() || d.late {
			return
		}
		turn := d.turn
		d.timer = time.AfterFunc(time.Until(t), func() {
			s.change(func() { d.late = d.late || d.turn == turn })
		})
	})
}
