package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Ages count back from the arrival of the report; whatever an executor's clock shows, nothing lies before the placement
// or after now.
func TestAgesBecomeClusterTime(t *testing.T) {
	at := func(m funding.Millis) *funding.Millis { return &m }
	exited := &wire.End{Cause: wire.Cause_CAUSE_EXITED}
	const day = 86_400_000
	for name, c := range map[string]struct {
		start  funding.Millis // as the state knows it; zero: it does not
		status *wire.RunStatus
		began  *funding.Millis
		ended  funding.Millis // zero: no end is told
	}{
		"no process yet":            {0, &wire.RunStatus{}, nil, 0},
		"a process":                 {0, &wire.RunStatus{StartedAgeMs: millis(300)}, at(9_700), 0},
		"older than its order":      {0, &wire.RunStatus{StartedAgeMs: millis(day)}, at(9_000), 0},
		"told again":                {9_700, &wire.RunStatus{StartedAgeMs: millis(400)}, nil, 0},
		"told again, another clock": {9_700, &wire.RunStatus{StartedAgeMs: millis(day)}, nil, 0},
		"start and end at once": {
			0, &wire.RunStatus{State: wire.RunState_RUN_STATE_ENDED, StartedAgeMs: millis(500), RanMs: millis(200), End: exited}, at(9_500), 9_700,
		},
		"an end told late": {
			9_100, &wire.RunStatus{State: wire.RunState_RUN_STATE_ENDED, StartedAgeMs: millis(900), RanMs: millis(50), End: exited}, nil, 9_150,
		},
		"an end in the future": {
			9_100, &wire.RunStatus{State: wire.RunState_RUN_STATE_ENDED, StartedAgeMs: millis(900), RanMs: millis(day), End: exited}, nil, 10_000,
		},
		"never started": {
			0, &wire.RunStatus{State: wire.RunState_RUN_STATE_ENDED, End: &wire.End{Cause: wire.Cause_CAUSE_START_FAILED}}, nil, 10_000,
		},
	} {
		run := &scheduler.Run{ID: 7, Placed: 9_000, Start: c.start}
		report, told := translate(run, c.status, 10_000)
		if diff := cmp.Diff(c.began, report.Started); diff != "" {
			t.Errorf("%s: started: %s", name, diff)
		}
		var end funding.Millis
		if report.Ended != nil {
			end = report.Ended.At
		}
		if end != c.ended || told != (c.began != nil || c.ended != 0) {
			t.Errorf("%s: ended at %d, want %d; told %v", name, end, c.ended, told)
		}
	}
}

func TestFrozenTimeOfALapsedLeaseIsTakenOff(t *testing.T) {
	run := &scheduler.Run{ID: 7, Placed: 1_000, Start: 1_000}
	report, _ := translate(run, &wire.RunStatus{
		State: wire.RunState_RUN_STATE_ENDED, RanMs: millis(5_000), End: &wire.End{Cause: wire.Cause_CAUSE_EXITED},
		Frozen: []*wire.Span{
			{FromMs: 100, ToMs: millis(300), Cause: wire.SpanCause_SPAN_CAUSE_LEASE},
			{FromMs: 500, ToMs: millis(700), Cause: wire.SpanCause_SPAN_CAUSE_ORDERED},
			{FromMs: 800, ToMs: millis(900), Cause: wire.SpanCause_SPAN_CAUSE_MONEY},
			{FromMs: 4_900, Cause: wire.SpanCause_SPAN_CAUSE_LEASE},
		},
	}, 10_000)
	want := []machine.Span{{From: 1_100, To: 1_300}, {From: 5_900, To: 6_000}}
	if diff := cmp.Diff(want, report.Ended.Stopped); diff != "" {
		t.Error(diff)
	}
}

// Who is to blame follows from the executor's cause and from what was ordered.
func TestWhoIsToBlame(t *testing.T) {
	for cause, want := range map[wire.Cause]struct {
		reason scheduler.Reason
		fault  bool
	}{
		wire.Cause_CAUSE_UNSPECIFIED:   {scheduler.ReasonFault, true},
		wire.Cause_CAUSE_EXITED:        {scheduler.ReasonExited, false},
		wire.Cause_CAUSE_SIGNALLED:     {scheduler.ReasonSignalled, false},
		wire.Cause_CAUSE_OUT_OF_MEMORY: {scheduler.ReasonOutOfMemory, false},
		wire.Cause_CAUSE_TIME_LIMIT:    {scheduler.ReasonTimeLimit, false},
		wire.Cause_CAUSE_STOPPED:       {scheduler.ReasonFault, true}, // nobody had ordered it
		wire.Cause_CAUSE_START_FAILED:  {scheduler.ReasonStartFailed, false},
		wire.Cause_CAUSE_LEASE:         {scheduler.ReasonNodeLost, true},
		wire.Cause_CAUSE_FAULT:         {scheduler.ReasonFault, true},
		wire.Cause_CAUSE_LEAVING:       {scheduler.ReasonDrained, false},
		wire.Cause_CAUSE_NO_ROOM:       {scheduler.ReasonNoRoom, false},
		wire.Cause(99):                 {scheduler.ReasonFault, true},
	} {
		if reason, fault := reasonOf(&scheduler.Run{}, cause); reason != want.reason || fault != want.fault {
			t.Errorf("%v: %v, fault %v", cause, reason, fault)
		}
	}
	if reason, fault := reasonOf(&scheduler.Run{Stop: scheduler.ReasonCancelled}, wire.Cause_CAUSE_STOPPED); reason != scheduler.ReasonCancelled || fault {
		t.Errorf("stopped on our word: %v, fault %v", reason, fault)
	}
}
