package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
)

// QuoteState is how far a quote has come.
type QuoteState uint8

// A quote waits for its money, has it, or was turned into coins.
const (
	QuoteUnpaid QuoteState = iota + 1
	QuotePaid
	QuoteIssued
)

// Quote is the record of a quote of the mint.
type Quote struct {
	ID     QuoteID        `cbor:"1,keyasint"`
	Rail   string         `cbor:"2,keyasint"`
	Ext    string         `cbor:"3,keyasint,omitempty"`
	Amount cashu.Units    `cbor:"4,keyasint"`
	State  QuoteState     `cbor:"5,keyasint"`
	Lock   *cashu.Point   `cbor:"6,keyasint,omitempty"`
	Until  funding.Millis `cbor:"7,keyasint,omitempty"`
	Made   funding.Millis `cbor:"8,keyasint"`
}

// RailVoucher is the rail by which an operator issues coins against nothing but its word.
const RailVoucher = "voucher"

// railAccounts gives rails their accounts.
func railAccount(rail string) funding.Account {
	if rail != RailVoucher {
		panic("a quote of a rail that does not exist")
	}
	return funding.Account{Kind: funding.AssetRail, ID: funding.RailVoucher}
}
