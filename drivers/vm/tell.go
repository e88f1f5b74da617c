package vm

import (
	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/vm/monitor"
)

// Tell implements tasks.Teller: a monitor knows how a task ended where its shim knows only how the monitor did, and whether what is
// frozen is on disk.
func (d *Driver) Tell(dir string, s *drivers.Status) {
	switch s.State {
	case drivers.StateFrozen:
		if monitor.Suspended(boxDir(dir)) {
			s.State = drivers.StateSuspended
		}
		return
	case drivers.StateExited:
	default:
		return
	}
	own := s.Exit.Cause == drivers.CauseExited || s.Exit.Cause == drivers.CauseSignalled
	end := monitor.ReadEnd(boxDir(dir))
	if end == nil {
		if own && s.Exit.Message == "" {
			s.Exit.Message = "the machine's monitor ended before the task"
		}
		return
	}
	s.Exit.OOMSeen = s.Exit.OOMSeen || end.Exit.OOMSeen
	if s.Exit.Message == "" {
		s.Exit.Message = end.Exit.Message
	}
	if !own || end.Exit.Cause == "" {
		return
	}
	s.Exit.Cause = end.Exit.Cause
}

// Measure implements tasks.Teller: the memory is the task's, without that of what it stands on.
func (d *Driver) Measure(dir string, u *drivers.Usage) {
	if end := monitor.ReadEnd(boxDir(dir)); end != nil && end.MemoryPeakBytes > 0 {
		u.MemoryPeakBytes, u.PidsPeak = end.MemoryPeakBytes, end.PidsPeak
	}
}
