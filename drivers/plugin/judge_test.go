package plugin

import (
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
)

const minute = int64(time.Minute)

// What a driver of the contract may say is never held against it.
func TestWhatMayBeIsBelieved(t *testing.T) {
	now := 100 * minute
	running := drivers.Status{ID: "a", State: drivers.StateRunning, StartedBoot: now - minute}
	ended := drivers.Status{ID: "a", State: drivers.StateExited, StartedBoot: now - minute, EndedBoot: now, Exit: drivers.Exit{Cause: drivers.CauseExited}}
	frozen := drivers.Status{ID: "a", State: drivers.StateFrozen, StartedBoot: now - minute, Frozen: []drivers.Span{{From: 5, To: 5}, {From: 7}}}
	for what, s := range map[string][2]drivers.Status{
		"starting":                     {{}, {ID: "a", State: drivers.StateStarting}},
		"running":                      {{ID: "a", State: drivers.StateStarting}, running},
		"frozen and thawed":            {frozen, running},
		"suspended and resumed":        {{ID: "a", State: drivers.StateSuspended, StartedBoot: now - minute}, running},
		"over before it was seen":      {{ID: "a", State: drivers.StateStarting}, ended},
		"told again":                   {ended, ended},
		"never started":                {{}, {ID: "a", State: drivers.StateExited, Exit: drivers.Exit{Cause: drivers.CauseStartFailed}}},
		"stopped before it started":    {{}, {ID: "a", State: drivers.StateExited, Exit: drivers.Exit{Cause: drivers.CauseStopped}}},
		"lapsed before it started":     {{}, {ID: "a", State: drivers.StateExited, Exit: drivers.Exit{Cause: drivers.CauseLease}}},
		"of an earlier, longer boot":   {{}, {ID: "a", State: drivers.StateExited, StartedBoot: 900 * minute, EndedBoot: 901 * minute, Exit: drivers.Exit{Cause: drivers.CauseExited}}},
		"lost with that boot":          {{}, {ID: "a", State: drivers.StateLost, StartedBoot: 900 * minute, EndedBoot: now}},
		"a start a moment ahead of us": {{}, {ID: "a", State: drivers.StateRunning, StartedBoot: now + 1000}},
	} {
		if err := possible(s[1], now); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := follows(s[0], s[1], now); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	used := drivers.Usage{CPUMillis: 50_000, LogBytes: 10}
	for what, err := range map[string]error{
		"a daemon of a running task ends":     plausible(used, drivers.Usage{CPUMillis: 10, LogBytes: 10}, running, now),
		"the end":                             plausible(used, drivers.Usage{CPUMillis: 50_001, LogBytes: 10}, ended, now),
		"asked again":                         plausible(used, used, ended, now),
		"lost with its boot":                  plausible(used, used, drivers.Status{State: drivers.StateLost, StartedBoot: 900 * minute, EndedBoot: now}, now),
		"all processors all the time":         plausible(drivers.Usage{}, drivers.Usage{CPUMillis: 60_000 * processors()}, ended, now),
		"what a failed start cost is unknown": plausible(drivers.Usage{}, drivers.Usage{}, drivers.Status{State: drivers.StateExited}, now),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWhatCannotBeIsNot(t *testing.T) {
	now := 100 * minute
	running := drivers.Status{ID: "a", State: drivers.StateRunning, StartedBoot: now - minute}
	ended := drivers.Status{ID: "a", State: drivers.StateExited, StartedBoot: now - minute, EndedBoot: now, Exit: drivers.Exit{Cause: drivers.CauseExited}}
	with := func(s drivers.Status, change func(*drivers.Status)) drivers.Status { change(&s); return s }
	for what, s := range map[string]drivers.Status{
		"no task":              {State: drivers.StateStarting},
		"no state":             {ID: "a", State: "dancing"},
		"runs, never started":  {ID: "a", State: drivers.StateRunning},
		"an exit, no start":    with(ended, func(s *drivers.Status) { s.StartedBoot = 0 }),
		"ended before it was":  with(ended, func(s *drivers.Status) { s.EndedBoot = s.StartedBoot - 1 }),
		"starts in the future": with(running, func(s *drivers.Status) { s.StartedBoot = now + minute }),
		"frozen backwards":     with(running, func(s *drivers.Status) { s.Frozen = []drivers.Span{{From: 9, To: 3}} }),
	} {
		if possible(s, now) == nil {
			t.Errorf("%s is believed", what)
		}
	}
	for what, s := range map[string][2]drivers.Status{
		"runs again":          {ended, running},
		"starts again":        {running, {ID: "a", State: drivers.StateStarting}},
		"another start":       {running, with(running, func(s *drivers.Status) { s.StartedBoot++ })},
		"another end":         {ended, with(ended, func(s *drivers.Status) { s.EndedBoot-- })},
		"ends in the future":  {running, with(ended, func(s *drivers.Status) { s.EndedBoot = now + minute })},
		"an end without that": {running, with(ended, func(s *drivers.Status) { s.StartedBoot = 0 })},
	} {
		if follows(s[0], s[1], now) == nil {
			t.Errorf("%s is believed", what)
		}
	}
	used := drivers.Usage{CPUMillis: 50_000, LogBytes: 10}
	for what, err := range map[string]error{
		"shrunk time":      plausible(used, drivers.Usage{CPUMillis: 40_000, LogBytes: 10}, ended, now),
		"shrunk output":    plausible(used, drivers.Usage{CPUMillis: 50_000, LogBytes: 9}, ended, now),
		"less than none":   plausible(drivers.Usage{}, drivers.Usage{CPUMillis: -1}, running, now),
		"too much at last": plausible(drivers.Usage{}, drivers.Usage{CPUMillis: 62_000 * processors()}, ended, now),
		"too much so far":  plausible(drivers.Usage{}, drivers.Usage{CPUMillis: 62_000 * processors()}, running, now),
	} {
		if err == nil {
			t.Errorf("%s is believed", what)
		}
	}
}
