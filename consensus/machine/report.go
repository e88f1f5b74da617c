package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Report carries what executors said of runs, one batch: starts and ends, in cluster time.
type Report struct {
	Runs []RunReport `cbor:"1,keyasint"`
}

// RunReport is what is new about one run.
type RunReport struct {
	Run     scheduler.RunID `cbor:"1,keyasint"`
	Started *funding.Millis `cbor:"2,keyasint,omitempty"` // its first process
	Ended   *End            `cbor:"3,keyasint,omitempty"`
	Alive   *Alive          `cbor:"4,keyasint,omitempty"`

	Suspended *Suspended `cbor:"5,keyasint,omitempty"`
}

// End is how a run ended and what it left.
type End struct {
	At        funding.Millis   `cbor:"1,keyasint"`
	Stopped   []Span           `cbor:"2,keyasint,omitempty"` // frozen because its lease lapsed: free of charge
	Reason    scheduler.Reason `cbor:"3,keyasint"`
	Exit      int32            `cbor:"4,keyasint,omitempty"`
	Signal    int32            `cbor:"5,keyasint,omitempty"`
	CPUMillis int64            `cbor:"6,keyasint,omitempty"`
	PeakBytes int64            `cbor:"7,keyasint,omitempty"`
	Fault     bool             `cbor:"8,keyasint,omitempty"` // ours: machine, shim, driver or server
	Text      string           `cbor:"9,keyasint,omitempty"` // what the driver said, for the owner
	Stdout    scheduler.Log    `cbor:"10,keyasint,omitzero"`
	Stderr    scheduler.Log    `cbor:"11,keyasint,omitzero"`
	Outputs   []File           `cbor:"12,keyasint,omitempty"`

	GPU *scheduler.GPUUsage `cbor:"13,keyasint,omitempty"` // what it used of GPUs
}

// Span is time from From up to To.
type Span struct {
	From funding.Millis `cbor:"1,keyasint"`
	To   funding.Millis `cbor:"2,keyasint"`
}

// File is an output of a run, by its content.
type File struct {
	Name   string   `cbor:"1,keyasint"`
	Digest [32]byte `cbor:"2,keyasint"`
	Size   int64    `cbor:"3,keyasint"`
	Mode   uint32   `cbor:"4,keyasint"`
}

// RunFiles is what an ended run left: kept until its job is forgotten.
type RunFiles struct {
	Run     scheduler.RunID  `cbor:"1,keyasint"`
	Job     scheduler.JobID  `cbor:"2,keyasint"`
	Task    int32            `cbor:"3,keyasint"`
	Node    scheduler.NodeID `cbor:"4,keyasint"`
	Ended   funding.Millis   `cbor:"5,keyasint"`
	Reason  scheduler.Reason `cbor:"6,keyasint"`
	Exit    int32            `cbor:"7,keyasint,omitempty"`
	Signal  int32            `cbor:"8,keyasint,omitempty"`
	Text    string           `cbor:"9,keyasint,omitempty"`
	Stdout  scheduler.Log    `cbor:"10,keyasint,omitzero"`
	Stderr  scheduler.Log    `cbor:"11,keyasint,omitzero"`
	Outputs []File           `cbor:"12,keyasint,omitempty"`
	Placed  funding.Millis   `cbor:"13,keyasint,omitempty"`
	Started funding.Millis   `cbor:"14,keyasint,omitempty"`
	Billed  funding.Millis   `cbor:"15,keyasint,omitempty"`
	Charged funding.Amount   `cbor:"16,keyasint,omitempty"` // posted in all, the operator's part left out

	GPU *scheduler.GPUUsage `cbor:"17,keyasint,omitempty"`
}

// ReportAnswer lists the runs whose report was refused: unknown, ended before, or times that cannot be.
type ReportAnswer struct {
	Refused []RefusedItem `cbor:"1,keyasint,omitempty"`
}

// Kind is part of [Command].
func (Report) Kind() Kind { return KindReport }

// ReportMax bounds the runs that one entry reports on.
const ReportMax = 65_536

func (c Report) apply(tx *Tx, at funding.Millis) (any, error) {
	if len(c.Runs) > ReportMax {
		return nil, refuse(CodeLimit, "at most %d runs in one report", ReportMax)
	}
	var answer ReportAnswer
	for i, report := range c.Runs {
		code, err := tx.reportRun(report, at)
		if err != nil {
			return nil, err
		}
		if code != OK {
			answer.Refused = append(answer.Refused, RefusedItem{Item: int32(i), Code: code})
		}
	}
	return answer, nil
}

// reportRun takes one run's report, or refuses all of it: times that cannot be change nothing.
func (tx *Tx) reportRun(report RunReport, at funding.Millis) (Code, error) {
	run, ok := tx.runs.get(report.Run)
	if !ok {
		return CodeRunUnknown, nil
	}
	start := run.Start
	if report.Started != nil && start == 0 {
		if start = *report.Started; start < max(run.Placed, 1) || start > at {
			return CodeInvalid, nil
		}
	}
	if e := report.Ended; e != nil && (!endPossible(e, max(start, run.Placed), at) || e.Reason == scheduler.ReasonNoRoom && start != 0) {
		return CodeInvalid, nil
	}
	if a := report.Alive; a != nil && (start == 0 || a.To > at || !spansPossible(a.Stopped, start, a.To)) {
		return CodeInvalid, nil
	}
	if s := report.Suspended; s != nil && (start == 0 || s.At < start || s.At > at || !spansPossible(s.Stopped, start, s.At) || !storedPossible(s.Stored)) {
		return CodeInvalid, nil
	}
	if start != run.Start {
		if err := tx.startRun(run, start); err != nil {
			return OK, err
		}
	}
	if report.Alive != nil {
		if err := tx.goOnRunning(tx.runs.must(report.Run), *report.Alive); err != nil {
			return OK, err
		}
	}
	if report.Suspended != nil {
		if err := tx.suspendRun(tx.runs.must(report.Run), *report.Suspended); err != nil {
			return OK, err
		}
	}
	if report.Ended == nil {
		return OK, nil
	}
	return OK, tx.endRun(report.Run, outcomeOf(tx.runs.must(report.Run), report.Ended))
}

// endPossible checks what an executor said against the order in which things happen.
func endPossible(e *End, from, at funding.Millis) bool {
	if e.At < from || e.At > at || e.Reason == scheduler.ReasonNone || e.Reason > scheduler.ReasonNoRoom || e.CPUMillis < 0 || e.PeakBytes < 0 {
		return false
	}
	if e.GPU != nil && !e.GPU.Possible() {
		return false
	}
	return spansPossible(e.Stopped, from, e.At)
}

func spansPossible(spans []Span, from, to funding.Millis) bool {
	for _, span := range spans {
		if span.From < from || span.To < span.From || span.To > to {
			return false
		}
		from = span.To
	}
	return true
}

// startRun notes a run's first process: from here on it is metered.
func (tx *Tx) startRun(old *scheduler.Run, start funding.Millis) error {
	j, err := tx.openJob(old.Job)
	if err != nil {
		return err
	}
	run := *old
	run.Start, run.From = start, j.indexAt(start, run.Pool)
	if limit := j.job.LimitOf(old); limit > 0 {
		run.Until = start + limit
	}
	run.Stored = nil
	if run.State == scheduler.RunPlaced {
		run.State = scheduler.RunRunning
	}
	if j.job.Mode == funding.Stream {
		if err := j.startInStream(&run); err != nil {
			return err
		}
	}
	if j.job.Started == 0 {
		j.job.Started = start
	}
	if j.job.State == scheduler.JobQueued {
		j.job.State = scheduler.JobRunning
	}
	j.runs.put(run.ID, &run)
	j.save()
	started := j.about(EventStarted)
	started.Run, started.Task, started.Node, started.Until = run.ID, run.Task, run.Node(), run.Until
	j.emit(started)
	if run.State != scheduler.RunPaused {
		return nil
	}
	r, err := tx.renew(j.streamID())
	if err == nil && !r.resumed && j.job.State != scheduler.JobPaused {
		job := *tx.jobs.must(j.job.ID)
		job.State = scheduler.JobPaused
		tx.jobs.put(job.ID, &job)
		j.emit(j.about(EventPaused))
	}
	return err
}
