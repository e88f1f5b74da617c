package server

import (
	"time"

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
	if s.State == wire.RunState_RUN_STATE_SUSPENDED {
		report.Suspended = suspended(run, s, now)
	}
	report.Alive = alive(run, s, now)
	return report, report.Started != nil || report.Alive != nil || report.Suspended != nil
}

// aliveLag is what an executor's word on a run that goes on is discounted by. It hears of an end or of a freeze moments
// after it happened; what is a lease older than its word is certain, and that much waits for the next day's settlement.
const aliveLag = funding.Millis(leaseTime / time.Millisecond)

// alive is the word that a run goes on, or has at least run until its files began to be collected: nil where it is no
// news. Pauses are left out. They are ordered and their time is charged, so there is nothing to learn of them.
func alive(run *scheduler.Run, s *wire.RunStatus, now funding.Millis) *machine.Alive {
	if run.Start == 0 || s.StartedAgeMs == nil {
		return nil
	}
	word := machine.Alive{To: min(now, run.Start+funding.Millis(*s.StartedAgeMs)) - aliveLag}
	if s.RanMs != nil {
		word.To = min(word.To, run.Start+funding.Millis(*s.RanMs))
	}
	word.Stopped = free(s.Frozen, run.Start, word.To)
	if !word.News(run) {
		return nil
	}
	return &word
}

// suspended is the word that a paused run lies on its machine's disk: nil where it is no news.
func suspended(run *scheduler.Run, s *wire.RunStatus, now funding.Millis) *machine.Suspended {
	word := machine.Suspended{At: max(run.Start, now-funding.Millis(s.GetSuspendedAgeMs()))}
	if kept := s.GetStored(); kept != nil {
		word.Stored = &scheduler.Stored{
			Digest: digestOf(kept.GetState().GetDigest()), Size: kept.GetState().GetSize(), Moves: kept.GetMoves(), Stdout: logOf(kept.Stdout), Stderr: logOf(kept.Stderr),
		}
	}
	if run.Start == 0 || !word.News(run) {
		return nil
	}
	word.Stopped = free(s.Frozen, run.Start, word.At)
	return &word
}

// free lists the times up to an end for which a run was frozen by the lack of a lease, which is never its owner's doing.
func free(frozen []*wire.Span, start, end funding.Millis) (spans []machine.Span) {
	for _, span := range frozen {
		if span.Cause != wire.SpanCause_SPAN_CAUSE_LEASE {
			continue
		}
		from, to := start+funding.Millis(span.FromMs), end
		if span.ToMs != nil {
			to = min(to, start+funding.Millis(*span.ToMs))
		}
		if from < to {
			spans = append(spans, machine.Span{From: from, To: to})
		}
	}
	return spans
}

func ended(run *scheduler.Run, s *wire.RunStatus, start funding.Millis, started bool, now funding.Millis) *machine.End {
	e := s.End
	end := &machine.End{
		At: now, Exit: e.Code, Signal: e.Signal, CPUMillis: e.CpuMs, PeakBytes: e.MemoryPeakBytes,
		Text: e.Message, Stdout: logOf(e.Stdout), Stderr: logOf(e.Stderr), GPU: gpuUsage(e.Gpu),
	}
	if started && s.RanMs != nil {
		end.At = min(now, start+funding.Millis(*s.RanMs))
	}
	if end.Reason, end.Fault = reasonOf(run, e.Cause); end.Reason == scheduler.ReasonNoRoom && started {
		end.Reason, end.Fault = scheduler.ReasonFault, true // it had its GPUs, or would not have started
	}
	for _, note := range e.Notes {
		if end.Text != "" {
			end.Text += "; "
		}
		end.Text += note
	}
	end.Stopped = free(s.Frozen, start, end.At)
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
	case wire.Cause_CAUSE_NO_ROOM:
		return scheduler.ReasonNoRoom, false
	case wire.Cause_CAUSE_LEASE:
		return scheduler.ReasonNodeLost, true
	}
	return scheduler.ReasonFault, true
}

func logOf(l *wire.Log) scheduler.Log {
	if l == nil {
		return scheduler.Log{}
	}
	return scheduler.Log{Digest: digestOf(l.Digest), Size: l.Size, Head: l.HeadBytes, Gap: l.GapBytes, Tail: l.TailBytes}
}

func digestOf(b []byte) (d [32]byte) {
	copy(d[:], b)
	return d
}
