package server

import (
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// translate turns what an executor says of a run into cluster time, and leaves out what the state already
// knows. Executors report durations on their own clocks: ages count back from now, the moment at which the report
// arrived, and a run never starts before it was placed, so a slow message can only shorten what is billed.
func translate(run *scheduler.Run, s *wire.RunStatus, now funding.Millis) (machine.RunReport, bool) {
	report := machine.RunReport{Run: run.ID}
	start, started := run.Start, run.Start != 0
	if !started && s.StartedAgeMs != nil {
		start, started = max(run.Placed, now-funding.Millis(*s.StartedAgeMs)), true
		report.Started = &start
	}
	if s.State == wire.RunState_RUN_STATE_ENDED && s.End != nil {
		report.Ended = ended(run, s, start, started, now)
		return report, true
	}
	if started {
		pauses(run, s, start, now, &report)
	}
	return report, report.Started != nil || report.Paused != nil || report.Resumed != nil
}

// pauses reports that an ordered pause or resumption has taken effect. A run that is being paused is frozen by the
// order, or was frozen by its money's end a moment before the order came.
func pauses(run *scheduler.Run, s *wire.RunStatus, start, now funding.Millis, report *machine.RunReport) {
	var last *wire.Span
	for _, span := range s.Frozen {
		if span.Cause != wire.SpanCause_SPAN_CAUSE_LEASE {
			last = span
		}
	}
	switch {
	case last == nil:
	case run.State == scheduler.RunPaused && last.ToMs == nil:
		at := min(now, start+funding.Millis(last.FromMs))
		report.Paused = &at
	case run.State == scheduler.RunRunning && last.ToMs != nil:
		at := min(now, start+funding.Millis(*last.ToMs))
		report.Resumed = &at
	}
}

func ended(run *scheduler.Run, s *wire.RunStatus, start funding.Millis, started bool, now funding.Millis) *machine.End {
	e := s.End
	end := &machine.End{
		At: now, Exit: e.Code, Signal: e.Signal, CPUMillis: e.CpuMs, PeakBytes: e.MemoryPeakBytes,
		Text: e.Message, Stdout: logOf(e.Stdout), Stderr: logOf(e.Stderr),
	}
	if started && s.RanMs != nil {
		end.At = min(now, start+funding.Millis(*s.RanMs))
	}
	end.Reason, end.Fault = reasonOf(run, e.Cause)
	for _, note := range e.Notes {
		if end.Text != "" {
			end.Text += "; "
		}
		end.Text += note
	}
	for _, span := range s.Frozen {
		if span.Cause != wire.SpanCause_SPAN_CAUSE_LEASE {
			continue
		}
		from, to := start+funding.Millis(span.FromMs), end.At
		if span.ToMs != nil {
			to = min(to, start+funding.Millis(*span.ToMs))
		}
		if from < to {
			end.Stopped = append(end.Stopped, machine.Span{From: from, To: to})
		}
	}
	for _, f := range e.Outputs {
		end.Outputs = append(end.Outputs, machine.File{Name: f.Name, Digest: digestOf(f.Digest), Size: f.Size, Mode: f.Mode})
	}
	return end
}

// reasonOf names why a run ended. What was stopped on our word ended for the reason of that word; what died of
// anything but itself, its limits or our word is our fault.
func reasonOf(run *scheduler.Run, cause wire.Cause) (reason scheduler.Reason, fault bool) {
	switch cause {
	case wire.Cause_CAUSE_EXITED:
		return scheduler.ReasonExited, false
	case wire.Cause_CAUSE_SIGNALLED:
		return scheduler.ReasonSignalled, false
	case wire.Cause_CAUSE_OUT_OF_MEMORY:
		return scheduler.ReasonOutOfMemory, false
	case wire.Cause_CAUSE_TIME_LIMIT:
		return scheduler.ReasonTimeLimit, false
	case wire.Cause_CAUSE_START_FAILED:
		return scheduler.ReasonStartFailed, false
	case wire.Cause_CAUSE_STOPPED:
		if run.Stop != scheduler.ReasonNone {
			return run.Stop, false
		}
		return scheduler.ReasonFault, true
	case wire.Cause_CAUSE_LEAVING:
		return scheduler.ReasonDrained, false // waits again, uncharged, and its node is not to blame
	case wire.Cause_CAUSE_LEASE:
		return scheduler.ReasonNodeLost, true
	}
	return scheduler.ReasonFault, true
}

func logOf(l *wire.Log) machine.Log {
	if l == nil {
		return machine.Log{}
	}
	return machine.Log{Digest: digestOf(l.Digest), Size: l.Size, Head: l.HeadBytes, Gap: l.GapBytes, Tail: l.TailBytes}
}

func digestOf(b []byte) (d [32]byte) {
	copy(d[:], b)
	return d
}
