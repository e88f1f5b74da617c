package machine

import (
	"github.com/coinop/coinop/funding"
)

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
	Index   uint64            `cbor:"5,keyasint,omitempty"` // of the entry that took the coins
}

// Kind is part of [Command].
func (PotCreate) Kind() Kind { return KindPotCreate }

// With coins it is remembered like all that brings coins. Without, its fund id is what tells a
// repetition: nobody else knows the secret that it was made from.
func (c PotCreate) apply(tx *Tx, _ funding.Millis) (any, error) {
	if c.Policy != funding.FirstIn {
		return nil, refuse(CodeInvalid, "a pot that spends %v is not to be had; it spends %v", c.Policy, funding.FirstIn)
	}
	if c.Payment == nil {
		return c.empty(tx)
	}
	return tx.once(c.Request, ofCoins(c.Payment.Coins), func() (any, error) {
		pot, err := tx.openPot(c.Keys, c.CapOthers)
		if err != nil {
			return nil, err
		}
		_, deposit, err := tx.payIn(pot, c.Payment, true, Event{})
		if err != nil {
			return nil, err
		}
		return PotCreateAnswer{
			Pot: pot.ID, Fund: c.Keys.Fund, Deposit: deposit.ID, Fee: units(c.Payment.Coins.Fee), Index: tx.index,
		}, nil
	})
}

func (c PotCreate) empty(tx *Tx) (any, error) {
	answer := PotCreateAnswer{Fund: c.Keys.Fund}
	if id, ok := tx.potFunds.get(c.Keys.Fund); ok && tx.pots.must(id).Keys == c.Keys {
		answer.Pot = id
		return answer, nil
	}
	pot, err := tx.openPot(c.Keys, c.CapOthers)
	if err != nil {
		return nil, err
	}
	answer.Pot = pot.ID
	return answer, nil
}
