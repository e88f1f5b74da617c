package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
)

// MintQuote makes a quote, or says of an unpaid one that a rail has brought its money. An
// operator's issue is a quote that is paid from the start, locked to the operator's wallet.
type MintQuote struct {
	Quote  QuoteID        `cbor:"1,keyasint"`
	Rail   string         `cbor:"2,keyasint"`           // "voucher"
	Ext    string         `cbor:"3,keyasint,omitempty"` // the rail's own name of the payment: enters once
	Amount cashu.Units    `cbor:"4,keyasint"`
	Paid   bool           `cbor:"5,keyasint,omitempty"`
	Lock   *cashu.Point   `cbor:"6,keyasint,omitempty"` // NUT-20: who may mint it
	Until  funding.Millis `cbor:"7,keyasint,omitempty"` // when an unpaid quote ends; zero: never
	Token  TokenHash      `cbor:"8,keyasint,omitzero"`  // the operator's, where it is an issue
}

// MintQuoteAnswer tells how the quote stands.
type MintQuoteAnswer struct {
	Quote QuoteID    `cbor:"1,keyasint"`
	State QuoteState `cbor:"2,keyasint"`
}

// Kind is part of [Command].
func (MintQuote) Kind() Kind { return KindMintQuote }
