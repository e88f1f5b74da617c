package port

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
)

// waitingMost is how many machines wait for their turn; who comes then is closed on at once and comes again later. It is
// about what can be done before the first of them gives up.
const waitingMost = 1024

// turns lets few machines at a time have what their handshakes cost computed. After a change of leaders thousands call in
// the same moment: their handshakes side by side would all end too late, and servers' words to each other would wait
// behind them, so that another leader is elected and they all call again.
type turns struct {
	working chan struct{}
	waiting chan struct{}
}

func newTurns() turns {
	return turns{make(chan struct{}, runtime.GOMAXPROCS(0)), make(chan struct{}, waitingMost)}
}

var errCrowd = errors.New("too many machines call at once")

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

// answered ends a turn when something is said: what follows costs as much time as the other side takes.
type answered struct {
	net.Conn
	end func() // owned by the goroutine that shakes hands
}

func (a *answered) Write(b []byte) (int, error) {
	if a.end != nil {
		a.end()
	}
	return a.Conn.Write(b)
}
