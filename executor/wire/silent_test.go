package wire

import (
	"net"
	"testing"
	"time"
)

// silent swallows what is written and never answers: a machine that lost its power.
type silent struct{ net.Conn }

func (silent) Write(p []byte) (int, error) { return len(p), nil }

func TestSilentPeerIsNoticed(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	session, err := accept(silent{a}, UnimplementedServersServer{}, patience{silence: 10 * time.Millisecond, write: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	<-session.Done()
	_ = session.Close()
}
