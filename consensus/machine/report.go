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
	Paused  *funding.Millis `cbor:"3,keyasint,omitempty"` // stopped for want of money, as ordered
	Resumed *funding.Millis `cbor:"4,keyasint,omitempty"`
	Ended   *End            `cbor:"5,keyasint,omitempty"`
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
	Stdout    Log              `cbor:"10,keyasint,omitzero"`
	Stderr    Log              `cbor:"11,keyasint,omitzero"`
	Outputs   []File           `cbor:"12,keyasint,omitempty"`
}

// Span is time from From up to To.
type Span struct {
	From funding.Millis `cbor:"1,keyasint"`
	To   funding.Millis `cbor:"2,keyasint"`
}

// Log is a stream that a run wrote: its first bytes and its last, with the gap stated.
type Log struct {
	Digest [32]byte `cbor:"1,keyasint,omitzero"`  // of the bytes kept: head, then tail
	Size   int64    `cbor:"2,keyasint,omitempty"` // written in all
	Head   int64    `cbor:"3,keyasint,omitempty"`
	Gap    int64    `cbor:"4,keyasint,omitempty"`
	Tail   int64    `cbor:"5,keyasint,omitempty"`
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
	Stdout  Log              `cbor:"10,keyasint,omitzero"`
	Stderr  Log              `cbor:"11,keyasint,omitzero"`
	Outputs []File           `cbor:"12,keyasint,omitempty"`
}

// ReportAnswer lists the runs whose report was refused: unknown, ended before, or times that cannot be.
type ReportAnswer struct {
	Refused []RefusedItem `cbor:"1,keyasint,omitempty"`
}

// Kind is part of [Command].
func (Report) Kind() Kind { return KindReport }
