package port

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coinop/coinop/consensus/pki"
)

// Thousands of machines that call at once keep no server waiting, and those for whom there is no room hear so at once.
func TestMachinesTakeTurnsAndServersDoNot(t *testing.T) {
	a, err := pki.NewAuthority("one", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s1, s2, n1 := identity(t, a, pki.Server, "s1"), identity(t, a, pki.Server, "s2"), identity(t, a, pki.Executor, "n1")
	p := &pins{in: map[pki.Pin]bool{s1.Pin(): true, s2.Pin(): true, n1.Pin(): true}}
	one, two := open(t, s1, p), open(t, s2, p)
	node := &TLS{cfg: TLSConfig{Network: TCP{}, Identity: n1, Admit: p.admit}}
	var ends []func()
	for range cap(one.callers.working) {
		end, err := one.callers.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	heard := make(chan error, 1)
	go func() { heard <- talks(node.Dial(t.Context(), one.Addr(), "executor")) }()
	for len(one.callers.waiting) == 0 {
		select {
		case err := <-heard:
			t.Fatalf("a machine did not wait for its turn: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := talks(two.Dial(t.Context(), one.Addr(), "raft")); err != nil {
		t.Errorf("a server waits behind machines: %v", err)
	}
	for len(one.callers.waiting) < cap(one.callers.waiting) {
		one.callers.waiting <- struct{}{}
	}
	if err := talks(node.Dial(t.Context(), one.Addr(), "executor")); err == nil {
		t.Error("more machines wait than there is room for")
	}
	for _, end := range ends {
		end()
		end() // once more changes nothing
	}
	if err := <-heard; err != nil {
		t.Errorf("after its turn came: %v", err)
	}
	for len(one.callers.waiting) > 0 {
		<-one.callers.waiting
	}
	for range 3 * cap(one.callers.working) {
		if err := talks(node.Dial(t.Context(), one.Addr(), "executor")); err != nil {
			t.Errorf("turns are not given back: %v", err)
		}
	}
}

// Few machines are let in at a time, each until its handler says that it is in. Who is no member takes none of their places.
func TestMachinesAreLetInOneAfterAnother(t *testing.T) {
	a, err := pki.NewAuthority("one", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s1, s2, n1, gone := identity(t, a, pki.Server, "s1"), identity(t, a, pki.Server, "s2"), identity(t, a, pki.Executor, "n1"), identity(t, a, pki.Executor, "n2")
	p := &pins{in: map[pki.Pin]bool{s1.Pin(): true, s2.Pin(): true, n1.Pin(): true}}
	one, two := open(t, s1, p), open(t, s2, p)
	in, may := make(chan struct{}), make(chan struct{})
	one.Handle("executor", func(ctx context.Context, c net.Conn, peer *x509.Certificate) {
		in <- struct{}{}
		<-may
		Entered(c)
		echo(ctx, c, peer)
	})
	node, stranger := &TLS{cfg: TLSConfig{Network: TCP{}, Identity: n1, Admit: p.admit}}, &TLS{cfg: TLSConfig{Network: TCP{}, Identity: gone, Admit: p.admit}}
	var ends []func()
	for range enteringMost - 1 {
		end, err := one.entering.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	heard := make(chan error, 2)
	call := func() { heard <- talks(node.Dial(t.Context(), one.Addr(), "executor")) }
	go call()
	<-in
	go call()
	for len(one.entering.waiting) == 0 {
		select {
		case <-in:
			t.Fatal("one more is let in than may be")
		case err := <-heard:
			t.Fatalf("a machine did not wait to be let in: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := talks(stranger.Dial(t.Context(), one.Addr(), "executor")); err == nil || len(one.entering.waiting) != 1 {
		t.Errorf("who is no member waits with those who are: %d, %v", len(one.entering.waiting), err)
	}
	if err := talks(two.Dial(t.Context(), one.Addr(), "raft")); err != nil {
		t.Errorf("a server waits behind machines: %v", err)
	}
	may <- struct{}{}
	<-in // the second one, while the first goes on
	for len(one.entering.waiting) < cap(one.entering.waiting) {
		one.entering.waiting <- struct{}{}
	}
	if _, err := node.Dial(t.Context(), one.Addr(), "executor"); err == nil {
		t.Error("another hand is shaken while those whose hands were are not let in yet")
	}
	may <- struct{}{}
	for range 2 {
		if err := <-heard; err != nil {
			t.Errorf("after being let in: %v", err)
		}
	}
	for _, end := range ends {
		end()
	}
	for deadline := time.Now().Add(5 * time.Second); len(one.entering.working) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d places are not given back", len(one.entering.working))
		}
		time.Sleep(time.Millisecond)
	}
}

func TestASlowMachineHoldsUpNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &TLS{entering: newTurns(enteringMost, enteredMost)}
		began := time.Now()
		for range 3 * enteringMost {
			if _, err := p.enter(t.Context()); err != nil { // and is never told that it is in
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 2*enteringMax {
			t.Errorf("the last one waited for %v", took)
		}
	})
}

// A machine that looks for the leader costs the other servers next to nothing, and yet hears from one where it is.
func TestWhoDoesNotLeadSendsMachinesAway(t *testing.T) {
	a, err := pki.NewAuthority("one", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s1, s2, n1 := identity(t, a, pki.Server, "s1"), identity(t, a, pki.Server, "s2"), identity(t, a, pki.Executor, "n1")
	p := &pins{in: map[pki.Pin]bool{s1.Pin(): true, s2.Pin(): true, n1.Pin(): true}}
	one, two := openWhere(t, s1, p, func() bool { return true }), open(t, s2, p)
	node := &TLS{cfg: TLSConfig{Network: TCP{}, Identity: n1, Admit: p.admit}}
	ask := func() error { return talks(node.Dial(t.Context(), one.Addr(), "executor")) }
	if err := ask(); err != nil {
		t.Errorf("nobody tells a machine where the leader is: %v", err)
	}
	one.redirects.set(time.Now().Add(time.Hour)) // so that no time passes
	if err := ask(); err == nil {
		t.Error("each machine has its handshake computed where it finds nothing")
	}
	if err := talks(two.Dial(t.Context(), one.Addr(), "raft")); err != nil {
		t.Errorf("a server was sent away: %v", err)
	}
	one.redirects.set(time.Now().Add(-redirectEvery))
	if err := ask(); err != nil {
		t.Errorf("a moment later nobody tells where the leader is: %v", err)
	}
}

func TestWhoGivesUpTakesNoTurn(t *testing.T) {
	turns := newCallers()
	for range cap(turns.working) {
		if _, err := turns.take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turns.take(ctx); !errors.Is(err, context.Canceled) || len(turns.waiting) != 0 {
		t.Errorf("%d wait, %v", len(turns.waiting), err)
	}
}

func (s *seldom) set(last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = last
}
