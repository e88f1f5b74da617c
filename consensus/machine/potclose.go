package machine

import "github.com/coinop/coinop/funding"

// PotClose ends a pot: it takes no more jobs and no more money, and what is left goes back when its
// jobs have ended, at once where there are none.
type PotClose struct {
	Pot     funding.PotID   `cbor:"1,keyasint"`
	Control funding.KeyHash `cbor:"2,keyasint"`
}

// PotCloseAnswer tells whether the money went back already.
type PotCloseAnswer struct {
	Pot      funding.PotID  `cbor:"1,keyasint"`
	Closed   bool           `cbor:"2,keyasint,omitempty"` // false: jobs are still open
	Refunded funding.Amount `cbor:"3,keyasint,omitempty"`
}

// Kind is part of [Command].
func (PotClose) Kind() Kind { return KindPotClose }
