package port

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// onMesh plays a story with a host that echoes, and a connection to it, on virtual time.
func onMesh(t *testing.T, story func(t *testing.T, m *Mesh, a *Host, c net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMesh()
		ln, err := m.Host("b").Listen("b:1")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() { io.Copy(c, c); c.Close() }()
			}
		}()
		a := m.Host("a")
		c, err := a.Dial(t.Context(), "b:1")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		story(t, m, a, c)
		m.Heal("a", "b") // so that both ends hear of the end
	})
}

func TestACutLinkCarriesNothing(t *testing.T) {
	onMesh(t, func(t *testing.T, m *Mesh, a *Host, c net.Conn) {
		m.Cut("b", "a")
		if err := talks(c, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("an open connection outlived the cut: %v", err)
		}
		var op *net.OpError
		if err := talks(a.Dial(t.Context(), "b:1")); !errors.Is(err, ErrUnreachable) || !errors.As(err, &op) {
			t.Errorf("dialled over a cut: %v", err)
		}
		m.Heal("a", "b")
		if err := talks(a.Dial(t.Context(), "b:1")); err != nil {
			t.Errorf("not healed: %v", err)
		}
	})
}

func TestAStalledLinkIsSilentAndDeliversLater(t *testing.T) {
	for _, way := range [][2]string{{"a", "b"}, {"b", "a"}} {
		onMesh(t, func(t *testing.T, m *Mesh, a *Host, c net.Conn) {
			m.Stall(way[0], way[1])
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(time.Hour))
			var late net.Error
			if n, err := c.Read(make([]byte, 5)); n != 0 || !errors.As(err, &late) || !late.Timeout() {
				t.Errorf("read %d, %v through a stalled link", n, err)
			}
			m.Heal("a", "b")
			c.SetReadDeadline(time.Time{})
			b := make([]byte, 5)
			if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
				t.Errorf("after healing: %q, %v", b, err)
			}
		})
	}
}

func TestAWriteToNobodyEndsWithItsDeadline(t *testing.T) {
	onMesh(t, func(t *testing.T, m *Mesh, _ *Host, c net.Conn) {
		m.Stall("a", "b")
		began := time.Now()
		c.SetWriteDeadline(began.Add(time.Minute))
		var err error
		for err == nil {
			_, err = c.Write(make([]byte, 1<<16))
		}
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
