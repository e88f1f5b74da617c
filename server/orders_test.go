package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

func TestWhatARunShouldBe(t *testing.T) {
	notice := &wire.Notice{Reason: scheduler.ReasonCancelled.String(), AtUnixMs: 10_500}
	for name, c := range map[string]struct {
		run  scheduler.Run
		now  funding.Millis
		want *wire.Order
		next funding.Millis // when it changes by itself
	}{
		"placed":  {scheduler.Run{State: scheduler.RunPlaced}, 10_000, &wire.Order{Want: wire.Want_WANT_RUN}, 0},
		"running": {scheduler.Run{State: scheduler.RunRunning, Start: 5}, 10_000, &wire.Order{Want: wire.Want_WANT_RUN, Started: true}, 0},
		"limited": {scheduler.Run{State: scheduler.RunRunning, Start: 5, Until: 65}, 10, &wire.Order{Want: wire.Want_WANT_RUN, Started: true, LimitMs: 60}, 0},
		"paused":  {scheduler.Run{State: scheduler.RunPaused, Start: 5}, 10_000, &wire.Order{Want: wire.Want_WANT_PAUSE, Started: true}, 0},
		"under notice": {
			scheduler.Run{State: scheduler.RunStopping, Start: 5, Stop: scheduler.ReasonCancelled, StopAt: 10_500, KillAt: 12_000}, 10_499,
			&wire.Order{Want: wire.Want_WANT_RUN, Started: true, Notice: notice}, 10_500,
		},
		"its notice is over": {
			scheduler.Run{State: scheduler.RunStopping, Start: 5, Stop: scheduler.ReasonCancelled, StopAt: 10_500, KillAt: 12_000, Signal: 2}, 10_500,
			&wire.Order{Want: wire.Want_WANT_STOP, Started: true, Signal: 2, KillDelayMs: 1_500, Notice: notice}, 0,
		},
		"to be killed at once": {
			scheduler.Run{State: scheduler.RunStopping, Stop: scheduler.ReasonCancelled, StopAt: 10_500, KillAt: 10_400}, 10_500,
			&wire.Order{Want: wire.Want_WANT_STOP, Notice: notice}, 0,
		},
	} {
		d := desired{view: machine.New().View(), now: c.now}
		c.run.ID, c.want.Run = 7, 7
		if diff := cmp.Diff(c.want, d.order(&c.run), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if d.next != c.next {
			t.Errorf("%s: changes at %d, want %d", name, d.next, c.next)
		}
	}
}

// An order's version rises when the order changes and stays when only durations do; a set that is as it was is not sent
// again.
func TestVersionsRiseWithChanges(t *testing.T) {
	st := &stream{versions: map[uint64]uint64{}}
	left := func(n int64) *wire.Order { return &wire.Order{Run: 1, Want: wire.Want_WANT_RUN, MoneyLeftMs: &n} }
	for _, step := range []struct {
		name    string
		orders  []*wire.Order
		applied uint64
		version uint64 // of run 1
		same    bool
	}{
		{"first", []*wire.Order{left(900)}, 10, 10, false},
		{"only a duration", []*wire.Order{left(800)}, 11, 10, true},
		{"another run beside it", []*wire.Order{left(800), {Run: 2, Want: wire.Want_WANT_RUN}}, 12, 10, false},
		{"it is to stop", []*wire.Order{{Run: 1, Want: wire.Want_WANT_STOP}, {Run: 2, Want: wire.Want_WANT_RUN}}, 13, 13, false},
		{"with another signal", []*wire.Order{{Run: 1, Want: wire.Want_WANT_STOP, Signal: 9}, {Run: 2, Want: wire.Want_WANT_RUN}}, 14, 14, false},
		{"and another, with no entry since", []*wire.Order{{Run: 1, Want: wire.Want_WANT_STOP, Signal: 2}, {Run: 2, Want: wire.Want_WANT_RUN}}, 14, 15, false},
		{"its neighbour is gone", []*wire.Order{{Run: 1, Want: wire.Want_WANT_STOP, Signal: 2}}, 16, 15, false},
		{"its limit is moved", []*wire.Order{{Run: 1, Want: wire.Want_WANT_STOP, Signal: 2, LimitMs: 9}}, 16, 16, false},
		{"nothing", []*wire.Order{{Run: 1, Want: wire.Want_WANT_STOP, Signal: 2, LimitMs: 9}}, 17, 16, true},
	} {
		same := st.number(step.orders, step.applied)
		if same != step.same || step.orders[0].Version != step.version {
			t.Errorf("%s: version %d, same %v", step.name, step.orders[0].Version, same)
		}
		st.sent, st.applied = step.orders, step.applied
	}
}

func TestTheKillDelayIsAtMostATenthOfTheLimit(t *testing.T) {
	pool := &scheduler.Pool{KillDelay: 30_000}
	for limit, want := range map[funding.Millis]funding.Millis{0: 30_000, 3_600_000: 30_000, 100_000: 10_000, 5: 0} {
		if got := killDelay(pool, limit); got != want {
			t.Errorf("limit %d: %d, want %d", limit, got, want)
		}
	}
}
