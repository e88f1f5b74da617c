package wire

import (
	"net"
	"testing"
)

// slowToClose closes when it is let.
type slowToClose struct {
	net.Conn
	asked, let chan struct{}
}

func (c slowToClose) Close() error {
	c.asked <- struct{}{}
	<-c.let
	return c.Conn.Close()
}

// While its connection is being closed, a session's streams must not know: they would ask without rest whether it is closed.
func TestStreamsHearOfTheEndWhenTheConnectionIsClosed(t *testing.T) {
	for name, end := range map[string]func(s *Session, other net.Conn) error{
		"by this side": func(s *Session, _ net.Conn) error { return s.Close() },
		"by the other": func(_ *Session, other net.Conn) error { return other.Close() },
		"by two at once": func(s *Session, other net.Conn) error {
			go other.Close()
			return s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			defer b.Close()
			slow := slowToClose{a, make(chan struct{}, 1), make(chan struct{})}
			session, err := Accept(slow, UnimplementedServersServer{})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- end(session, b) }()
			<-slow.asked
			select {
			case <-session.Done():
				t.Error("the session ended before its connection did")
			default:
			}
			close(slow.let)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			<-session.Done()
			if err := session.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
