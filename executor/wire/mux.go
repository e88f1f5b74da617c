package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// mux makes many streams of one connection, in both directions.
type mux interface {
	net.Listener
	Open() (net.Conn, error)
	CloseChan() <-chan struct{}
}

// patience is how long a silent other side is borne.
type patience struct{ silence, write time.Duration }

type muxSide func(io.ReadWriteCloser, *yamux.Config) (*yamux.Session, error)

func newMux(conn net.Conn, side muxSide, p patience) (mux, error) {
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = false // heartbeats tell that the other side lives; pings beside them doubled what idle machines say
	config.ConnectionWriteTimeout = p.write
	config.LogOutput = io.Discard // what breaks is seen by whoever calls; the library's own words add nothing
	closing := &closedFirst{Conn: conn, silence: p.silence}
	session, err := side(closing, config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start streams: %w", err), conn.Close())
	}
	return muxed{session, closing}, nil
}

// muxed is a session whose connection is closed before its streams hear of the end. Between the two a stream that is read asks
// again and again whether there is something, without rest (yamux's issue 127): when thousands of connections end at once,
// readers take all processors from those who would end them, and a server stands still for many seconds.
type muxed struct {
	*yamux.Session
	conn *closedFirst
}

// Close ends the connection, and with that the session.
func (m muxed) Close() error {
	_ = m.conn.Close() // the other side may be gone already
	<-m.CloseChan()    // whoever reads has met the end
	return m.Session.Close()
}

// closedFirst is a connection that closes itself when nothing more can be read from it, or nothing has come for too long.
type closedFirst struct {
	net.Conn
	silence time.Duration
	closed  atomic.Bool
}

func (c *closedFirst) Read(p []byte) (int, error) {
	err := c.SetReadDeadline(time.Now().Add(c.silence))
	n := 0
	if err == nil {
		n, err = c.Conn.Read(p)
	}
	if err != nil {
		_ = c.Close() // why it ended is told
	}
	return n, err
}

// Close does not wait for another that is under way.
func (c *closedFirst) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.Conn.Close()
}
