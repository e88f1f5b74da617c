package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
)

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

func (c Swap) apply(tx *Tx, _ funding.Millis) (any, error) {
	return tx.once(c.Request, ofCoins(c.Coins), func() (any, error) {
		if c.Coins.Pay != 0 || len(c.Coins.Blanks) != 0 {
			return nil, refuse(CodeInvalid, "a swap pays nothing and takes no blanks")
		}
		// What is not turned into coins is the fee alone, so the account named here gets nothing.
		if err := tx.take(c.Coins, 0, funding.Account{Kind: funding.IncomeFees}, Event{}); err != nil {
			return nil, err
		}
		return SwapAnswer{Index: tx.index}, nil
	})
}
