package machine

import "github.com/coinop/coinop/funding"

// PotCreate opens a pot for many jobs, with a first deposit or without.
type PotCreate struct {
	Request   RequestID       `cbor:"1,keyasint"`
	Keys      funding.Keys    `cbor:"2,keyasint"`
	Payment   *Payment        `cbor:"3,keyasint,omitempty"`
	CapOthers *funding.Amount `cbor:"4,keyasint,omitempty"` // the most that others may add; nil: as they like
	Policy    funding.Policy  `cbor:"5,keyasint,omitempty"` // whose money goes first; zero: first in, the only one yet
}

// PotCreateAnswer names the pot.
type PotCreateAnswer struct {
	Pot     funding.PotID     `cbor:"1,keyasint"`
	Fund    funding.FundID    `cbor:"2,keyasint"`
	Deposit funding.DepositID `cbor:"3,keyasint,omitempty"`
	Fee     funding.Amount    `cbor:"4,keyasint,omitempty"`
	Index   uint64            `cbor:"5,keyasint"`
}

// Kind is part of [Command].
func (PotCreate) Kind() Kind { return KindPotCreate }
