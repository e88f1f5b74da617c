package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// JobCap sets the owner's limits: what others may add, and what the job may ever cost.
type JobCap struct {
	Job       scheduler.JobID `cbor:"1,keyasint"`
	Control   funding.KeyHash `cbor:"2,keyasint"`
	CapOthers *funding.Amount `cbor:"3,keyasint,omitempty"` // nil: as it was
	MaxTotal  *funding.Amount `cbor:"4,keyasint,omitempty"` // nil: as it was; zero: none
}

// JobCapAnswer tells the limits after it.
type JobCapAnswer struct {
	Job       scheduler.JobID `cbor:"1,keyasint"`
	CapOthers *funding.Amount `cbor:"2,keyasint,omitempty"`
	MaxTotal  funding.Amount  `cbor:"3,keyasint,omitempty"`
}

// Kind is part of [Command].
func (JobCap) Kind() Kind { return KindJobCap }
