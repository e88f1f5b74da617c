package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// OnHold keeps a queued job from starting, or lets it go; its money stays reserved.
type OnHold struct {
	Job     scheduler.JobID `cbor:"1,keyasint"`
	Control funding.KeyHash `cbor:"2,keyasint,omitzero"`
	Token   TokenHash       `cbor:"3,keyasint,omitzero"` // or an operator's token
	On      bool            `cbor:"4,keyasint,omitempty"`
}

// OnHoldAnswer tells how the job stands after it.
type OnHoldAnswer struct {
	Job   scheduler.JobID    `cbor:"1,keyasint"`
	State scheduler.JobState `cbor:"2,keyasint"`
	On    bool               `cbor:"3,keyasint,omitempty"`
}

// Kind is part of [Command].
func (OnHold) Kind() Kind { return KindOnHold }

func (c OnHold) apply(tx *Tx, at funding.Millis) (any, error) {
	j, err := tx.openOwn(c.Job, c.Control, c.Token, at)
	if err != nil {
		return nil, err
	}
	if j.job.OnHold != c.On {
		j.job.OnHold = c.On
		j.save()
		kind := EventReleased
		if c.On {
			kind = EventOnHold
		}
		tx.emit(j.about(kind))
	}
	return OnHoldAnswer{Job: c.Job, State: j.job.State, On: c.On}, nil
}
