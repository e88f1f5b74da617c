package cluster

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// talk sends a word from one host to another and says whether it arrived, and whether an answer came back.
func talk(t *testing.T, n *Net, from, to string) (there, back bool) {
	t.Helper()
	var listener net.PacketConn
	err := n.within(to, func() (err error) {
		listener, err = net.ListenPacket("udp4", n.Addr(to)+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	heard := make(chan bool, 1)
	go func() {
		var b [16]byte
		length, who, err := listener.ReadFrom(b[:])
		heard <- err == nil
		if err == nil {
			_, _ = listener.WriteTo(b[:length], who) // where it is lost, the reader below says so
		}
	}()
	var conn net.Conn
	err = n.within(from, func() (err error) {
		conn, err = net.Dial("udp4", listener.LocalAddr().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("word")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // a socket has deadlines
	var b [16]byte
	_, err = conn.Read(b[:])
	back = err == nil
	listener.Close()
	return <-heard, back
}

// newNet is a net that must leave nothing behind.
func newNet(t *testing.T) *Net {
	t.Helper()
	if err := CanNet(); err != nil {
		t.Skip(err)
	}
	n, err := NewNet(fmt.Sprintf("coinop-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if out, err := os.ReadDir("/run/netns"); err == nil {
			for _, e := range out {
				if strings.HasPrefix(e.Name(), n.prefix) {
					t.Errorf("%s was left", e.Name())
				}
			}
		}
	})
	return n
}

func TestEachWayBetweenHostsIsLostByItself(t *testing.T) {
	n := newNet(t)
	if err := errors.Join(n.Add("a"), n.Add("b"), n.Add("c")); err != nil {
		t.Fatal(err)
	}
	expect := func(when, from, to string, there, back bool) {
		t.Helper()
		if gotThere, gotBack := talk(t, n, from, to); gotThere != there || gotBack != back {
			t.Errorf("%s: from %s to %s: there %v, back %v", when, from, to, gotThere, gotBack)
		}
	}
	expect("at first", "a", "b", true, true)
	if err := n.Lose("b", "a"); err != nil {
		t.Fatal(err)
	}
	expect("answers are lost", "a", "b", true, false)
	expect("questions are lost", "b", "a", false, false)
	expect("another is near", "a", "c", true, true)
	if err := n.Cut("a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	expect("cut off", "a", "c", false, false)
	expect("the others", "b", "c", true, true)
	if err := n.Heal("a"); err != nil {
		t.Fatal(err)
	}
	expect("healed", "a", "b", true, true)
	expect("healed", "c", "a", true, true)
}

func TestAForwardedAddressIsThatOfItsHost(t *testing.T) {
	n := newNet(t)
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Add("a"), n.Forward("a", addr)); err != nil {
		t.Fatal(err)
	}
	var inside net.Listener
	if err := n.within("a", func() (err error) { inside, err = net.Listen("tcp", addr); return err }); err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	go func() {
		if conn, err := inside.Accept(); err == nil {
			fmt.Fprint(conn, "inside")
			conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if said, err := io.ReadAll(conn); err != nil || string(said) != "inside" {
		t.Errorf("%q, %v", said, err)
	}
}
