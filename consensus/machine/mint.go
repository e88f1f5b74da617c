package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
)

// Mint turns a paid quote into allowed outputs of exactly its amount (NUT-04). The lock's
// signature was checked before it was proposed.
type Mint struct {
	Request RequestID      `cbor:"1,keyasint"`
	Quote   QuoteID        `cbor:"2,keyasint"`
	Outputs []mint.Allowed `cbor:"3,keyasint"`
}

// MintAnswer says that the outputs may be signed.
type MintAnswer struct {
	Amount funding.Amount `cbor:"1,keyasint"`
	Index  uint64         `cbor:"2,keyasint"`
}

// Kind is part of [Command].
func (Mint) Kind() Kind { return KindMint }
