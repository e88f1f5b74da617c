package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Price sets a pool's price from now on. A price above the lowest effective bid of the spot runs is refused.
type Price struct {
	Pool  scheduler.PoolID `cbor:"1,keyasint"`
	Price funding.Rate     `cbor:"2,keyasint"`
}

// PriceAnswer is the pool's price after the entry.
type PriceAnswer struct {
	Price funding.Rate `cbor:"1,keyasint"`
}

// Kind is part of [Command].
func (Price) Kind() Kind { return KindPrice }
