package inproc

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/port"
)

// watched passes what raft keeps on to its stores, a step before and a step after each write.
func (s *Server) watched(stores consensus.Stores) consensus.Stores {
	return consensus.Stores{
		Log:       watchedLog{stores.Log, s},
		Snapshots: watchedSnapshots{stores.Snapshots, s},
	}
}

// around does something that is two steps: before and after it.
func (s *Server) around(before, after string, do func() error) error {
	s.cluster.steps.cross(s.Name, "%s", before)
	err := do()
	s.cluster.steps.cross(s.Name, "%s", after)
	return err
}

type watchedLog struct {
	consensus.Log
	server *Server
}

func (l watchedLog) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

func (l watchedLog) StoreLogs(list []*raft.Log) error {
	what := entries(list)
	return l.server.around("writes "+what, "has written "+what, func() error { return l.Log.StoreLogs(list) })
}

func (l watchedLog) DeleteRange(first, last uint64) error {
	return l.server.around("forgets entries", "has forgotten entries", func() error { return l.Log.DeleteRange(first, last) })
}

func (l watchedLog) Set(key, value []byte) error {
	return l.server.around("notes "+string(key), "has noted "+string(key), func() error { return l.Log.Set(key, value) })
}

func (l watchedLog) SetUint64(key []byte, value uint64) error {
	return l.server.around("notes "+string(key), "has noted "+string(key), func() error { return l.Log.SetUint64(key, value) })
}

// entries names the kinds of some entries.
func entries(list []*raft.Log) string {
	var names []string
	for _, e := range list {
		name := e.Type.String()
		if e.Type == raft.LogCommand {
			name = "an entry that cannot be read"
			if _, command, err := machine.Decode(e.Data); err == nil {
				_, name, _ = strings.Cut(fmt.Sprintf("%T", command), ".")
			}
		}
		names = append(names, name)
	}
	if more := len(names) - namedMost; more > 0 {
		names = append(names[:namedMost], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

const namedMost = 4

type watchedSnapshots struct {
	raft.SnapshotStore
	server *Server
}

func (w watchedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, at uint64, t raft.Transport) (
	sink raft.SnapshotSink, err error,
) {
	err = w.server.around("begins a snapshot", "has begun a snapshot", func() (err error) {
		sink, err = w.SnapshotStore.Create(version, index, term, members, at, t)
		return err
	})
	return &watchedSink{SnapshotSink: sink, server: w.server}, err
}

type watchedSink struct {
	raft.SnapshotSink
	server *Server
	wrote  bool
	closed bool
}

// Write is a step the first time.
func (w *watchedSink) Write(b []byte) (int, error) {
	n, err := w.SnapshotSink.Write(b)
	if !w.wrote {
		w.wrote = true
		w.server.cluster.steps.cross(w.server.Name, "has written of a snapshot")
	}
	return n, err
}

// Close is called once by who has written and once more by raft.
func (w *watchedSink) Close() error {
	if w.closed {
		return w.SnapshotSink.Close()
	}
	w.closed = true
	return w.server.around("finishes a snapshot", "has finished a snapshot", w.SnapshotSink.Close)
}

// watchedHost tells of what is asked at a server's HTTP address, and, while it joins, of all that it says to others.
type watchedHost struct {
	*port.Host
	server *Server
}

func (h watchedHost) Listen(addr string) (net.Listener, error) {
	l, err := h.Host.Listen(addr)
	if err != nil || addr != h.server.Config.HTTP {
		return l, err
	}
	return watchedListener{l, h.server}, nil
}

func (h watchedHost) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if h.server.member.Load() {
		return h.Host.Dial(ctx, addr)
	}
	h.server.cluster.steps.cross(h.server.Name, "dials %s", addr)
	conn, err := h.Host.Dial(ctx, addr)
	if err != nil {
		return conn, err
	}
	return heard{conn, h.server.cluster.steps, h.server.Name, &h.server.member}, nil
}

type watchedListener struct {
	net.Listener
	server *Server
}

func (l watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &httpConn{Conn: conn, server: l.server}, nil
}

// httpConn is a connection on which requests come one after the other. Those that only read are no steps.
type httpConn struct {
	net.Conn
	server *Server

	mu    sync.Mutex // what a GET has made a WebSocket of goes both ways at once
	line  []byte     // of the request, as far as it has come
	asked string     // what it asks, once that is known
	raw   bool       // no requests any more
}

func (c *httpConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if asked := c.hear(b[:n]); asked != "" && !strings.HasPrefix(asked, "GET ") {
		c.server.cluster.steps.cross(c.server.Name, "hears %s", asked)
	}
	return n, err
}

// hear returns what is asked when that becomes known.
func (c *httpConn) hear(piece []byte) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked != "" || c.raw {
		return ""
	}
	c.line = append(c.line, piece...)
	line, _, whole := bytes.Cut(c.line, []byte(" HTTP/1.1\r\n"))
	if !whole {
		return ""
	}
	c.asked, c.line = string(line), nil
	return c.asked
}

func (c *httpConn) Write(b []byte) (int, error) {
	status, begins := bytes.CutPrefix(b, []byte("HTTP/1.1 "))
	c.mu.Lock()
	asked := c.asked
	c.asked, c.raw = "", c.raw || bytes.HasPrefix(status, []byte("101"))
	c.mu.Unlock()
	if !begins || asked == "" || strings.HasPrefix(asked, "GET ") {
		return c.Conn.Write(b)
	}
	what := fmt.Sprintf("%s with %.3s", asked, status)
	n := 0
	err := c.server.around("answers "+what, "has answered "+what, func() (err error) {
		n, err = c.Conn.Write(b)
		return err
	})
	return n, err
}

// heard is a connection whose every word is a step, until it may be deaf.
type heard struct {
	net.Conn
	steps *steps
	who   string
	deaf  *atomic.Bool
}

func (h heard) Write(b []byte) (int, error) {
	if !h.deaf.Load() {
		h.steps.cross(h.who, "says something to %s", host(h.RemoteAddr()))
	}
	return h.Conn.Write(b)
}

func (h heard) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if !h.deaf.Load() {
		h.steps.cross(h.who, "hears something from %s", host(h.RemoteAddr()))
	}
	return n, err
}

func host(a net.Addr) string {
	name, _, _ := strings.Cut(a.String(), ":")
	return name
}
