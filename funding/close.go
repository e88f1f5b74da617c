package funding

import (
	"fmt"
	"slices"
)

// RefundID numbers claimable balances in the order in which they came up.
type RefundID uint64

// Refund is a claimable balance: what came back and had no blanks to go to.
type Refund struct {
	ID      RefundID  `cbor:"1,keyasint"`
	Pot     PotID     `cbor:"2,keyasint"`
	Deposit DepositID `cbor:"3,keyasint"`
	Claim   KeyHash   `cbor:"4,keyasint"` // who may take it
	Amount  Amount    `cbor:"5,keyasint"` // whole coins
	At      Millis    `cbor:"6,keyasint"`
	Expires Millis    `cbor:"7,keyasint"`
	Paid    Millis    `cbor:"8,keyasint,omitempty"` // when it was taken
}

// Back is what one deposit gets back when its pot closes.
type Back struct {
	Deposit  Deposit // with Refunded set
	Amount   Amount  // whole coins
	Rounding Amount  // less than one coin: charged, as a line of its own
	Claim    KeyHash // who may take it where there are no usable blanks
}

// Close ends a pot on which nothing is held: every deposit gets back what is left of it, in whole
// coins. What is left of a donation goes to the pot's own claim key.
func (p Pot) Close(at Millis) (Pot, []Back, error) {
	switch {
	case p.State == PotClosed:
		return p, nil, fmt.Errorf("close pot %d: %w", p.ID, ErrClosed)
	case p.Held != 0 || p.Jobs != 0:
		return p, nil, fmt.Errorf("close pot %d, which has %d jobs and holds %d: %w", p.ID, p.Jobs, p.Held, ErrRange)
	}
	p.State, p.Ended = PotClosed, at
	p.Deposits = slices.Clone(p.Deposits)
	var backs []Back
	for i := range p.Deposits {
		d := &p.Deposits[i]
		left := d.Left()
		if left == 0 {
			continue
		}
		back := Back{Rounding: left % UnitMicro, Claim: p.Keys.Claim}
		back.Amount = left - back.Rounding
		d.Charged += back.Rounding
		d.Refunded += back.Amount
		if d.Way != Donated && d.Claim != (KeyHash{}) {
			back.Claim = d.Claim
		}
		back.Deposit = *d
		backs = append(backs, back)
	}
	return p, backs, nil
}
