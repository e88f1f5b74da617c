package machine

import (
	"encoding/binary"
	"slices"

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

func (c Mint) apply(tx *Tx, _ funding.Millis) (any, error) {
	number := binary.BigEndian.Uint64(c.Quote[:8])
	return tx.once(c.Request, ofOutputs(number, c.Outputs), func() (any, error) {
		quote, ok := tx.quotes.get(c.Quote)
		switch {
		case !ok:
			return nil, refuse(CodeQuoteUnknown, "there is no quote of this id")
		case quote.State == QuoteIssued:
			return nil, refuse(CodeQuoteIssued, "the coins of this quote were issued; restore finds them")
		case quote.State != QuotePaid:
			return nil, refuse(CodeQuoteUnpaid, "this quote is not paid yet")
		}
		if err := tx.issueOutputs(c.Outputs, units(quote.Amount), railAccount(quote.Rail), funding.CodeIssue, Event{}); err != nil {
			return nil, err
		}
		issued := *quote
		issued.State = QuoteIssued
		tx.quotes.put(issued.ID, &issued)
		tx.meta.Quoted -= units(quote.Amount)
		return MintAnswer{Amount: units(quote.Amount), Index: tx.index}, nil
	})
}

// issueOutputs allows outputs that are worth exactly an amount, and takes it from an account.
func (tx *Tx) issueOutputs(outputs []mint.Allowed, amount funding.Amount, from funding.Account, code funding.Code, what Event) error {
	if err := tx.checkOutputs(outputs); err != nil {
		return err
	}
	var sum funding.Amount
	var transfers []funding.Transfer
	for _, output := range outputs {
		sum += units(output.Amount())
		coins := coinsOf(output.Keyset)
		at := slices.IndexFunc(transfers, func(t funding.Transfer) bool { return t.Credit == coins })
		if at < 0 {
			at, transfers = len(transfers), append(transfers, funding.Transfer{Debit: from, Credit: coins, Code: code})
		}
		transfers[at].Amount += units(output.Amount())
	}
	if sum != amount {
		return refuse(CodeUnbalanced, "the outputs are worth %d, not %d", sum/funding.UnitMicro, amount/funding.UnitMicro)
	}
	if err := tx.allow(outputs); err != nil {
		return err
	}
	return tx.post(what, transfers...)
}
