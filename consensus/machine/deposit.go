package machine

import (
	"github.com/coinop/coinop/funding"
)

// Deposit puts coins into a pot; whoever knows the fund id may.
type Deposit struct {
	Request RequestID      `cbor:"1,keyasint"`
	Fund    funding.FundID `cbor:"2,keyasint"`
	Payment Payment        `cbor:"3,keyasint"`
}

// DepositAnswer names the deposit: a line of its own with its own way back.
type DepositAnswer struct {
	Pot     funding.PotID     `cbor:"1,keyasint"`
	Deposit funding.DepositID `cbor:"2,keyasint"`
	Paid    funding.Amount    `cbor:"3,keyasint"`
	Fee     funding.Amount    `cbor:"4,keyasint,omitempty"`
	Index   uint64            `cbor:"5,keyasint"`
}

// Kind is part of [Command].
func (Deposit) Kind() Kind { return KindDeposit }

func (c Deposit) apply(tx *Tx, _ funding.Millis) (any, error) {
	return tx.once(c.Request, ofCoins(c.Payment.Coins), func() (any, error) {
		id, ok := tx.potFunds.get(c.Fund)
		if !ok {
			return nil, refuse(CodePotUnknown, "there is no pot of this fund id; it may have ended and been forgotten")
		}
		pot, deposit, err := tx.payIn(tx.pots.must(id), &c.Payment, false, Event{})
		if err != nil {
			return nil, err
		}
		if err := tx.potGrew(pot.ID); err != nil {
			return nil, err
		}
		return DepositAnswer{
			Pot: pot.ID, Deposit: deposit.ID, Paid: deposit.Amount, Fee: units(c.Payment.Coins.Fee), Index: tx.index,
		}, nil
	})
}
