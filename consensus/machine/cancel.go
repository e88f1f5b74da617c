package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Cancel ends a job: waiting tasks at once, running ones by a signal and the kill delay.
type Cancel struct {
	Job     scheduler.JobID      `cbor:"1,keyasint"`
	Control funding.KeyHash      `cbor:"2,keyasint,omitzero"`  // hash of the control key shown
	Token   TokenHash            `cbor:"3,keyasint,omitzero"`  // or an operator's token
	Signal  int32                `cbor:"4,keyasint,omitempty"` // instead of SIGTERM
	Tasks   *scheduler.TaskRange `cbor:"5,keyasint,omitempty"` // only these; nil: all
}

// CancelAnswer tells how the job stands after it.
type CancelAnswer struct {
	Job   scheduler.JobID    `cbor:"1,keyasint"`
	State scheduler.JobState `cbor:"2,keyasint"`
}

// Kind is part of [Command].
func (Cancel) Kind() Kind { return KindCancel }
