package machine

import "github.com/coinop/coinop/funding/mint"

// Swap turns coins into others (NUT-03). Coins.Pay and Coins.Blanks are empty.
type Swap struct {
	Request RequestID     `cbor:"1,keyasint"`
	Coins   mint.Admitted `cbor:"2,keyasint"`
}

// SwapAnswer says only that the outputs may be signed; their signatures are computed by whoever answers.
type SwapAnswer struct {
	Index uint64 `cbor:"1,keyasint"`
}

// Kind is part of [Command].
func (Swap) Kind() Kind { return KindSwap }
