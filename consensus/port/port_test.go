package port

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/coinop/coinop/consensus/pki"
)

type pins struct {
	mu sync.Mutex
	in map[pki.Pin]bool
}

func (p *pins) admit(_ pki.Kind, cert *x509.Certificate) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.in[pki.PinOf(cert.Raw)] {
		return errors.New("not a member")
	}
	return nil
}

func identity(t *testing.T, a *pki.Authority, kind pki.Kind, name string) pki.Identity {
	t.Helper()
	key, err := pki.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Issue(kind, name, csr)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := pki.KeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := pki.NewIdentity(a.CertPEM(), pki.CertPEM(der), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func echo(_ context.Context, c net.Conn, _ *x509.Certificate) { io.Copy(c, c) }

func open(t *testing.T, id pki.Identity, p *pins) *TLS {
	t.Helper()
	return openWhere(t, id, p, nil)
}

func openWhere(t *testing.T, id pki.Identity, p *pins, elsewhere func() bool) *TLS {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := NewTLS(TLSConfig{
		Listener: ln, Network: TCP{}, Identity: id, Admit: p.admit, Log: slog.New(slog.DiscardHandler),
		Open: map[string]bool{"join": true}, Kinds: map[string]pki.Kind{"executor": pki.Executor}, Elsewhere: elsewhere,
	})
	port.Handle("raft", echo)
	port.Handle("join", echo)
	port.Handle("executor", echo)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- port.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return port
}

func talks(c net.Conn, err error) error {
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	b := make([]byte, 5)
	_, err = io.ReadFull(c, b)
	return err
}

func TestOnlyPinnedMembersOfTheRightKindGetThrough(t *testing.T) {
	a, err := pki.NewAuthority("one", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s1, s2, gone, n1 := identity(t, a, pki.Server, "s1"), identity(t, a, pki.Server, "s2"), identity(t, a, pki.Server, "s3"), identity(t, a, pki.Executor, "n1")
	p := &pins{in: map[pki.Pin]bool{s1.Pin(): true, s2.Pin(): true, n1.Pin(): true}}
	one, two := open(t, s1, p), open(t, s2, p)
	ctx := t.Context()

	if err := talks(two.Dial(ctx, one.Addr(), "raft")); err != nil {
		t.Errorf("a pinned server is refused: %v", err)
	}
	if err := talks(two.Dial(ctx, one.Addr(), "unknown")); err == nil {
		t.Error("a protocol that nobody speaks was answered")
	}
	three := open(t, gone, p)
	if err := talks(three.Dial(ctx, one.Addr(), "raft")); err == nil {
		t.Error("a server that is not pinned got through")
	}
	if err := talks(one.Dial(ctx, three.Addr(), "raft")); err == nil {
		t.Error("a server that is not pinned was called")
	}
	node := &TLS{cfg: TLSConfig{Network: TCP{}, Identity: n1, Admit: p.admit}}
	if err := talks(node.Dial(ctx, one.Addr(), "executor")); err != nil {
		t.Errorf("an executor is refused: %v", err)
	}
	if err := talks(node.Dial(ctx, one.Addr(), "raft")); err == nil {
		t.Error("an executor spoke raft")
	}
	if err := talks(two.Dial(ctx, one.Addr(), "executor")); err == nil {
		t.Error("a server spoke as an executor")
	}
}

func TestAListenerHandsConnectionsOn(t *testing.T) {
	ln := NewListener("a")
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			echo(ctx, c, nil)
			c.Close()
		}
	}()
	near, far := net.Pipe()
	handled := make(chan struct{})
	go func() { defer close(handled); ln.Handle(ctx, far, nil) }()
	if err := talks(near, nil); err != nil {
		t.Fatal(err)
	}
	<-handled // when the connection is closed
	ln.Close()
	<-served
	cancel()
}

func TestAPeerThatIsGoneIsCutOff(t *testing.T) {
	a, err := pki.NewAuthority("one", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s1, s2, s3 := identity(t, a, pki.Server, "s1"), identity(t, a, pki.Server, "s2"), identity(t, a, pki.Server, "s3")
	p := &pins{in: map[pki.Pin]bool{s1.Pin(): true, s2.Pin(): true, s3.Pin(): true}}
	one := open(t, s1, p)
	stays, err := open(t, s2, p).Dial(t.Context(), one.Addr(), "raft")
	if err != nil {
		t.Fatal(err)
	}
	defer stays.Close()
	goes, err := open(t, s3, p).Dial(t.Context(), one.Addr(), "raft")
	if err != nil {
		t.Fatal(err)
	}
	defer goes.Close()
	for _, c := range []net.Conn{stays, goes} { // so that both are known
		c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	one.Drop(func(peer *x509.Certificate) bool { return pki.PinOf(peer.Raw) == s3.Pin() })
	goes.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := goes.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("what is gone still has a connection: %v", err)
	}
	if err := talks(stays, nil); err != nil {
		t.Errorf("one that stays was cut off: %v", err)
	}
}
