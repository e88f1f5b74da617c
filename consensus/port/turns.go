package port

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"sync"
	"time"
)

// After a change of leaders thousands of machines call in the same moment. What runs in this process waits in one line,
// servers' words to each other among it: where hundreds of machines are being let in, a leader's heartbeats come too late,
// another leader is elected, and they all call again. So few are let in at a time, and the others wait before anything is done for them.
const (
	// callersMost is how many wait for their turn to shake hands; who comes then is closed on at once and comes again later.
	callersMost = 1024
	// callersWait is how long: executors give up after five seconds, and what is computed then is for nobody.
	callersWait = 4 * time.Second
	// enteringMost is how many members are let in at a time, from the end of the handshake until they have been told something.
	enteringMost = 32
	// enteringMax is after how long one counts no more as being let in: a slow net must not hold up the others.
	enteringMax = 300 * time.Millisecond
	// enteredMost is how many wait for that with their handshake done. Meanwhile nobody else shakes hands.
	enteredMost = 256
	// redirectEvery is how often a machine that calls the wrong server is told so by who speaks its protocol. The others are
	// turned away before anything is computed; they know other servers to try.
	redirectEvery = 100 * time.Millisecond
)

// turns are places for work, and a line before them.
type turns struct {
	working chan struct{}
	waiting chan struct{}
}

func newTurns(working, waiting int) turns {
	return turns{make(chan struct{}, working), make(chan struct{}, waiting)}
}

// newCallers are the turns of handshakes, which anybody can ask for: as many are computed as there are processors.
func newCallers() turns { return newTurns(runtime.GOMAXPROCS(0), callersMost) }

var (
	errCrowd     = errors.New("too many machines call at once")
	errElsewhere = errors.New("this server does not lead: the others are to be tried")
)

// take waits for a turn, which the returned function ends. It may be called again.
func (t turns) take(ctx context.Context) (end func(), err error) {
	select {
	case t.waiting <- struct{}{}:
		defer func() { <-t.waiting }()
	default:
		return nil, errCrowd
	}
	select {
	case t.working <- struct{}{}:
		return sync.OnceFunc(func() { <-t.working }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// full says that who came now would be turned away.
func (t turns) full() bool { return len(t.waiting) == cap(t.waiting) }

// seldom lets something happen, but not soon again.
type seldom struct {
	mu   sync.Mutex
	last time.Time // guarded by mu
}

func (s *seldom) now() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && time.Since(s.last) < redirectEvery {
		return false
	}
	s.last = time.Now()
	return true
}

// answered is a connection whose turns end: that of the handshake when something is said, since what follows costs as much
// time as the other side takes; that of being let in when its handler says so.
type answered struct {
	net.Conn
	end     func() // owned by the goroutine that shakes hands
	entered func() // set before the handler is called
}

func (a *answered) Write(b []byte) (int, error) {
	if a.end != nil {
		a.end()
	}
	return a.Conn.Write(b)
}

// Entered is said by a handler of the connection that it was given, once its peer has been told what it came for: now
// another one may be let in.
func Entered(conn net.Conn) {
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return
	}
	if a, ok := secured.NetConn().(*answered); ok && a.entered != nil {
		a.entered()
	}
}
