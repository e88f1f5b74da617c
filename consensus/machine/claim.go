package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
)

// Claim turns a claimable balance, or a part of it, into allowed outputs.
type Claim struct {
	Request RequestID        `cbor:"1,keyasint"`
	Refund  funding.RefundID `cbor:"2,keyasint"`
	Claim   funding.KeyHash  `cbor:"3,keyasint"` // hash of the claim key shown
	Outputs []mint.Allowed   `cbor:"4,keyasint"`
}

// ClaimAnswer says that the outputs may be signed, and what is left to claim.
type ClaimAnswer struct {
	Left  funding.Amount `cbor:"1,keyasint,omitempty"`
	Index uint64         `cbor:"2,keyasint"`
}

// Kind is part of [Command].
func (Claim) Kind() Kind { return KindClaim }
