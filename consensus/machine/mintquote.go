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

// extBytesMax bounds a rail's own name of a payment.
const extBytesMax = 256

func (c MintQuote) apply(tx *Tx, at funding.Millis) (any, error) {
	if err := c.check(tx, at); err != nil {
		return nil, err
	}
	before, known := tx.quotes.get(c.Quote)
	if known && (before.Rail != c.Rail || before.Amount != c.Amount || !samePoint(before.Lock, c.Lock)) {
		return nil, refuse(CodeRequestConflict, "there is a quote of this id with another rail, amount or key")
	}
	if known && (before.State != QuoteUnpaid || !c.Paid) {
		return MintQuoteAnswer{Quote: before.ID, State: before.State}, nil // as it stands; a repetition changes nothing
	}
	quote := &Quote{
		ID: c.Quote, Rail: c.Rail, Ext: c.Ext, Amount: c.Amount, State: QuoteUnpaid,
		Lock: c.Lock, Until: c.Until, Made: at,
	}
	if known {
		quote.Made, quote.Until = before.Made, before.Until
	}
	if c.Paid {
		if other, ok := tx.externals.get(external{c.Rail, c.Ext}); ok && c.Ext != "" && other != c.Quote {
			return nil, refuse(CodeRequestConflict, "this payment of the rail %q came in before, for another quote", c.Rail)
		}
		if err := tx.checkIssue(units(c.Amount)); err != nil {
			return nil, err
		}
		quote.State = QuotePaid
		tx.meta.Quoted += units(c.Amount)
	}
	tx.quotes.put(quote.ID, quote)
	return MintQuoteAnswer{Quote: quote.ID, State: quote.State}, nil
}

func (c MintQuote) check(tx *Tx, at funding.Millis) error {
	switch {
	case c.Quote == (QuoteID{}):
		return refuse(CodeInvalid, "a quote needs an id")
	case c.Rail != RailVoucher:
		return refuse(CodeInvalid, "there is no rail %q; this cluster has %q", c.Rail, RailVoucher)
	case c.Amount == 0 || uint64(c.Amount) > uint64(funding.IssueMax/funding.UnitMicro):
		return refuse(CodeLimit, "a quote is for 1 to %d, not %d", funding.IssueMax/funding.UnitMicro, c.Amount)
	case len(c.Ext) > extBytesMax:
		return refuse(CodeLimit, "the rail's name of the payment has %d bytes, the limit is %d", len(c.Ext), extBytesMax)
	case c.Until < 0:
		return refuse(CodeInvalid, "the quote ends at %d", c.Until)
	}
	// Vouchers are the operator's word, so there must be one.
	return tx.checkToken(c.Token, at, RoleOperator)
}

// checkIssue refuses an amount by which more would have been issued than the ledger takes. Quotes
// that are paid and not yet coins count, so that a paid one can always be minted.
func (tx *Tx) checkIssue(amount funding.Amount) error {
	issued := tx.meta.Quoted
	tx.balances.scan(funding.Account{Kind: funding.AssetRail}, func(a funding.Account, held funding.Amount) bool {
		if a.Kind != funding.AssetRail {
			return false
		}
		issued += held
		return true
	})
	if amount > funding.IssueMax-issued {
		return refuse(CodeIssueCap, "%d were issued of at most %d; %d more are too much",
			issued/funding.UnitMicro, funding.IssueMax/funding.UnitMicro, amount/funding.UnitMicro)
	}
	return nil
}

func samePoint(a, b *cashu.Point) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
