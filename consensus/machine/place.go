package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Place starts tasks on nodes, one batch. Each decision is checked again: one that no longer
// holds is refused by itself and the others go on.
type Place struct {
	Decisions []Placement `cbor:"1,keyasint"`
}

// Placement is the decision to start tasks First to First+Count-1 of a job, each on Nodes.
type Placement struct {
	Job   scheduler.JobID    `cbor:"1,keyasint"`
	First int32              `cbor:"2,keyasint,omitempty"`
	Count int32              `cbor:"3,keyasint,omitempty"` // zero means one
	Nodes []scheduler.NodeID `cbor:"4,keyasint"`           // one, until gangs exist
	Firm  bool               `cbor:"5,keyasint,omitempty"` // refused until firm runs exist
	Rate  funding.Rate       `cbor:"6,keyasint,omitempty"` // a firm run's
}

// PlaceAnswer lists what was started, in the batch's order, and which decisions no longer held.
type PlaceAnswer struct {
	Runs    []scheduler.RunID `cbor:"1,keyasint,omitempty"`
	Refused []RefusedItem     `cbor:"2,keyasint,omitempty"`
}

// RefusedItem names one part of a batch that was refused by itself.
type RefusedItem struct {
	Item int32 `cbor:"1,keyasint"` // its place in the batch, from zero
	Code Code  `cbor:"2,keyasint"`
}

// Kind is part of [Command].
func (Place) Kind() Kind { return KindPlace }
