package server

import (
	"testing"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
	"github.com/google/go-cmp/cmp"
)

func millis(n int64) *int64 { return &n }

// What a settlement on the way may charge is what an executor has said, and a lease older than that.
func TestOnlyConfirmedTimeIsWordOfALife(t *testing.T) {
	const day, minute = 86_400_000, 60_000
	start := funding.Millis(1_000_000)
	run := &scheduler.Run{ID: 7, Placed: start, Start: start, State: scheduler.RunRunning}
	lease := func(from int64, to *int64) *wire.Span {
		return &wire.Span{FromMs: from, ToMs: to, Cause: wire.SpanCause_SPAN_CAUSE_LEASE}
	}
	for name, c := range map[string]struct {
		status *wire.RunStatus
		now    funding.Millis
		want   *machine.Alive
	}{
		"young":         {&wire.RunStatus{StartedAgeMs: millis(day)}, start + day, nil},
		"a day old":     {&wire.RunStatus{StartedAgeMs: millis(day + minute)}, start + day + 2*minute, &machine.Alive{To: start + day}},
		"a clock ahead": {&wire.RunStatus{StartedAgeMs: millis(2 * day)}, start + day + minute, &machine.Alive{To: start + day}},
		"its files are being collected": {
			&wire.RunStatus{StartedAgeMs: millis(3 * day), RanMs: millis(day + 5)}, start + 3*day, &machine.Alive{To: start + day + 5},
		},
		"it ended too early for a settlement": {&wire.RunStatus{StartedAgeMs: millis(3 * day), RanMs: millis(day - 1)}, start + 3*day, nil},
		"it stood still": {
			&wire.RunStatus{StartedAgeMs: millis(10 * minute), Frozen: []*wire.Span{lease(minute, millis(2*minute)), lease(5*minute, nil)}},
			start + 11*minute,
			&machine.Alive{To: start + 9*minute, Stopped: []machine.Span{{From: start + minute, To: start + 2*minute}, {From: start + 5*minute, To: start + 9*minute}}},
		},
		"it was paused for want of money, which is charged": {
			&wire.RunStatus{StartedAgeMs: millis(10 * minute), Frozen: []*wire.Span{
				{FromMs: minute, ToMs: millis(2 * minute), Cause: wire.SpanCause_SPAN_CAUSE_ORDERED},
				{FromMs: 3 * minute, Cause: wire.SpanCause_SPAN_CAUSE_MONEY},
			}},
			start + 11*minute, nil,
		},
	} {
		report, any := translate(run, c.status, c.now)
		if diff := cmp.Diff(c.want, report.Alive); diff != "" || any != (c.want != nil) {
			t.Errorf("%s: told %v:\n%s", name, any, diff)
		}
	}
}

// No end that is told later lies before what was confirmed.
func TestAnEndLiesAfterWhatWasConfirmed(t *testing.T) {
	run := &scheduler.Run{ID: 7, Placed: 1, Start: 1_000_000, State: scheduler.RunRunning}
	for _, age := range []int64{86_400_000, 90_000_000, 200_000_000} {
		for _, late := range []funding.Millis{0, 1, 500, 70_000} {
			now := run.Start + funding.Millis(age) + late
			report, _ := translate(run, &wire.RunStatus{StartedAgeMs: &age}, now)
			end, _ := translate(run, &wire.RunStatus{State: wire.RunState_RUN_STATE_ENDED, StartedAgeMs: &age, RanMs: millis(age - 60_000), End: &wire.End{Cause: wire.Cause_CAUSE_EXITED}}, now)
			if report.Alive != nil && report.Alive.To > end.Ended.At {
				t.Errorf("confirmed until %d, ended at %d", report.Alive.To, end.Ended.At)
			}
		}
	}
}

func TestANewLeaderSparesStreams(t *testing.T) {
	p := machine.Pulse{Pause: []machine.StreamID{{Pot: 1, Pool: 1}}, Stop: []machine.StopRun{
		{Run: 1, Reason: scheduler.ReasonMoneyEnd}, {Run: 2, Reason: scheduler.ReasonTimeLimit}, {Run: 3, Reason: scheduler.ReasonMaxTotal},
	}}
	if !spare(&p) || len(p.Pause) != 0 || len(p.Stop) != 1 || p.Stop[0].Run != 2 {
		t.Errorf("left is %+v", p)
	}
	p.Stop = nil
	if spare(&p) {
		t.Error("nothing is left, and yet a pulse")
	}
}
