package port

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
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
	for range cap(one.turns.working) {
		end, err := one.turns.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	heard := make(chan error, 1)
	go func() { heard <- talks(node.Dial(t.Context(), one.Addr(), "executor")) }()
	for len(one.turns.waiting) == 0 {
		select {
		case err := <-heard:
			t.Fatalf("a machine did not wait for its turn: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := talks(two.Dial(t.Context(), one.Addr(), "raft")); err != nil {
		t.Errorf("a server waits behind machines: %v", err)
	}
	for len(one.turns.waiting) < cap(one.turns.waiting) {
		one.turns.waiting <- struct{}{}
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
	for len(one.turns.waiting) > 0 {
		<-one.turns.waiting
	}
	for range 3 * cap(one.turns.working) {
		if err := talks(node.Dial(t.Context(), one.Addr(), "executor")); err != nil {
			t.Errorf("turns are not given back: %v", err)
		}
	}
}

func TestWhoGivesUpTakesNoTurn(t *testing.T) {
	turns := newTurns()
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
