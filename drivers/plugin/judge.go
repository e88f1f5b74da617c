package plugin

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/coinop/coinop/drivers"
)

// A driver is believed as long as what it says can be true. What follows is what no driver of the contract says, however
// busy its machine: users are billed by its word.

// clockSlack is how far a driver's clock may be from ours: it is the same clock, read at other moments.
const clockSlack = int64(time.Second)

// possible says what cannot be of a status by itself. now is the boot's clock.
func possible(s drivers.Status, now int64) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("task %.64q: %s", s.ID, fmt.Sprintf(format, args...))
	}
	switch s.State {
	case drivers.StateStarting, drivers.StateLost:
	case drivers.StateRunning, drivers.StateFrozen, drivers.StateSuspended:
		if s.StartedBoot == 0 {
			return wrong("it is %s and has never started", s.State)
		}
	case drivers.StateExited:
		switch s.Exit.Cause {
		case drivers.CauseExited, drivers.CauseSignalled, drivers.CauseOOM, drivers.CauseDisk:
			if s.StartedBoot == 0 {
				return wrong("an exit without a start")
			}
		}
	default:
		return wrong("there is no state %.64q", s.State)
	}
	switch {
	case s.ID == "":
		return errors.New("a status of no task")
	case s.StartedBoot < 0 || !s.State.Final() && s.StartedBoot > now+clockSlack: // one that is over may be of another boot
		return wrong("it started at %d, and it is %d", s.StartedBoot, now)
	case s.State == drivers.StateExited && s.StartedBoot != 0 && s.EndedBoot < s.StartedBoot:
		return wrong("it ended at %d, before its start at %d", s.EndedBoot, s.StartedBoot)
	}
	for _, span := range s.Frozen {
		if span.From < 0 || span.To != 0 && span.To < span.From {
			return wrong("it was frozen from %d to %d", span.From, span.To)
		}
	}
	return nil
}

// follows says why a status cannot come after another one of the same task.
func follows(before, s drivers.Status, now int64) error {
	switch {
	case before.State == "":
		return nil
	case rank(s) < rank(before):
		return fmt.Errorf("task %s: after %s it is %s", s.ID, before.State, s.State)
	case before.StartedBoot != 0 && s.StartedBoot != before.StartedBoot:
		return fmt.Errorf("task %s: its start has moved from %d to %d", s.ID, before.StartedBoot, s.StartedBoot)
	case !before.State.Final() && s.State.Final() && s.EndedBoot > now+clockSlack:
		return fmt.Errorf("task %s: it ended at %d, and it is %d", s.ID, s.EndedBoot, now)
	case before.State.Final() && s.EndedBoot != before.EndedBoot:
		return fmt.Errorf("task %s: its end has moved from %d to %d", s.ID, before.EndedBoot, s.EndedBoot)
	}
	return nil
}

// plausible says what cannot be of what a task has used. Of one that runs, the sum of its living processes may shrink as
// they end; what it used in all can't be less than what it had used.
func plausible(before, u drivers.Usage, s drivers.Status, now int64) error {
	const slackMillis = 1000
	switch {
	case min(u.CPUMillis, u.MemoryPeakBytes, u.PidsPeak, u.LogBytes) < 0:
		return fmt.Errorf("it used less than nothing: %+v", u)
	case s.State.Final() && (u.CPUMillis < before.CPUMillis-slackMillis || u.LogBytes < before.LogBytes):
		return fmt.Errorf("its usage shrank from %+v to %+v", before, u)
	case s.StartedBoot == 0, s.State == drivers.StateLost:
		return nil
	}
	until := now
	if s.State.Final() {
		until = s.EndedBoot
	}
	wall := (until-s.StartedBoot)/int64(time.Millisecond) + slackMillis
	if cpus := processors(); u.CPUMillis > wall*cpus {
		return fmt.Errorf("%d ms of processor time in %d ms on %d processors", u.CPUMillis, wall, cpus)
	}
	return nil
}

// processors is how many the machine has, also those that this process may not use. More of them are never too few.
func processors() int64 {
	found, err := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*")
	if err != nil || len(found) == 0 {
		return 1 << 20
	}
	return int64(len(found))
}
