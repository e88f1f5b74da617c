package watch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/watch"
)

func nothing() ([]drivers.Status, error) { return nil, nil }

// A watcher that looks away meets the latest status of each task, in the order in which they first changed.
func TestSlowWatcherGetsTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h watch.Hub
		statuses, err := h.Watch(t.Context(), "", nothing)
		if err != nil {
			t.Fatal(err)
		}
		for pid := 1; pid <= 1000; pid++ {
			h.Publish(drivers.Status{ID: "a", Pid: pid})
			h.Publish(drivers.Status{ID: "b", Pid: pid})
			if pid == 1 {
				synctest.Wait() // the first is on offer by now
			}
		}
		var got []string
		for range 3 {
			s := <-statuses
			got = append(got, fmt.Sprint(s.ID, s.Pid))
		}
		if want := "[a1 b1000 a1000]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
	})
}

// A status read after subscribing never replaces one published meanwhile.
func TestPresentStateIsNotNewer(t *testing.T) {
	var h watch.Hub
	statuses, err := h.Watch(t.Context(), "a", func() ([]drivers.Status, error) {
		h.Publish(drivers.Status{ID: "a", State: drivers.StateExited})
		return []drivers.Status{{ID: "a", State: drivers.StateRunning}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for s := range statuses {
		count++
		if s.State != drivers.StateExited {
			t.Errorf("got %s", s.State)
		}
	}
	if count != 1 {
		t.Errorf("%d statuses", count)
	}
}

func TestWatchesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which also sees that no goroutine stays behind
		var h watch.Hub
		ctx, cancel := context.WithCancel(t.Context())
		first, err := h.Watch(ctx, "", nothing)
		if err != nil {
			t.Fatal(err)
		}
		second, err := h.Watch(t.Context(), "a", nothing)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, open := <-first; open {
			t.Error("the first goes on after its context")
		}
		h.Close()
		if _, open := <-second; open {
			t.Error("the second goes on after the hub")
		}
		if _, err := h.Watch(t.Context(), "", nothing); !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("a third: %v", err)
		}
		fails := errors.New("no such thing")
		var other watch.Hub
		if _, err := other.Watch(t.Context(), "a", func() ([]drivers.Status, error) { return nil, fails }); !errors.Is(err, fails) {
			t.Errorf("%v", err)
		}
	})
}
