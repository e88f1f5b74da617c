package api_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/coinop/coinop/api"
)

var (
	flooder = netip.MustParseAddr("192.0.2.1")
	another = netip.MustParseAddr("192.0.2.2")
)

// jammed is a curve of one processor, which is at work for the flooder until it is let go.
type jammed struct {
	api.Curve
	t    *testing.T
	work chan struct{}
	all  sync.WaitGroup

	mu    sync.Mutex
	order []string
}

func jam(t *testing.T, queue int) *jammed {
	t.Helper()
	l := api.DefaultLimits()
	l.CurveWorkers, l.CurveQueue = 1, queue
	c, err := api.NewCurve(l)
	if err != nil {
		t.Fatal(err)
	}
	j := &jammed{Curve: c, t: t, work: make(chan struct{})}
	begun := make(chan struct{})
	j.all.Go(func() {
		if err := c.Check(t.Context(), flooder, func() error { close(begun); <-j.work; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-begun
	return j
}

// waits has a request wait, and returns when it does.
func (j *jammed) waits(ctx context.Context, name string, ask func(context.Context, netip.Addr, func() error) error, addr netip.Addr) (answer chan error) {
	j.t.Helper()
	before, answer := j.Waiting(), make(chan error, 1)
	j.all.Go(func() {
		answer <- ask(ctx, addr, func() error {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.order = append(j.order, name)
			return nil
		})
	})
	until(j.t, name+" waits", func() bool { return j.Waiting() > before })
	return answer
}

func (j *jammed) letGo(want ...string) {
	j.t.Helper()
	close(j.work)
	j.all.Wait()
	if !slices.Equal(j.order, want) {
		j.t.Errorf("they came in the order %v, want %v", j.order, want)
	}
}

// However many requests one address has waiting, of another's each comes after one of them.
func TestAddressesTakeTurnsAtTheCurve(t *testing.T) {
	j := jam(t, 100)
	for range 50 {
		j.waits(t.Context(), "flood", j.Check, flooder)
	}
	j.waits(t.Context(), "single", j.Check, another)
	j.waits(t.Context(), "its second", j.Run, another)
	want := []string{"flood", "single", "flood", "its second"}
	for range 48 {
		want = append(want, "flood")
	}
	j.letGo(want...)
	if n := j.Waiting(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

// A full queue refuses who fills it, not who comes with a single request, and nobody whose money was taken.
func TestTheCurvesQueueRefusesWhoFillsIt(t *testing.T) {
	j := jam(t, 3)
	for range 3 {
		j.waits(t.Context(), "flood", j.Check, flooder)
	}
	if err := j.Check(t.Context(), flooder, func() error { return errors.New("it came in") }); err == nil || err.Error() == "it came in" {
		t.Errorf("a fourth of the flooder's: %v", err)
	}
	j.waits(t.Context(), "accepted", j.Run, flooder)
	j.waits(t.Context(), "single", j.Check, another)
	if err := j.Check(t.Context(), another, func() error { return nil }); err == nil {
		t.Error("a second of the other's came into a queue that is full")
	}
	j.letGo("flood", "single", "flood", "flood", "accepted")
}

func TestWhoGoesLeavesTheCurvesQueue(t *testing.T) {
	j := jam(t, 100)
	gone, leave := context.WithCancel(t.Context())
	first := j.waits(t.Context(), "first", j.Check, flooder)
	second := j.waits(gone, "second", j.Check, flooder)
	single := j.waits(gone, "single", j.Check, another)
	leave()
	if err := errors.Join(<-second, <-single); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	j.letGo("first")
	if err := <-first; err != nil || j.Waiting() != 0 {
		t.Errorf("%v, %d wait", err, j.Waiting())
	}
	if err := j.Check(t.Context(), another, func() error { return nil }); err != nil {
		t.Errorf("the processor was not given back: %v", err)
	}
}
