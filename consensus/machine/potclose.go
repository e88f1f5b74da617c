package machine

import (
	"github.com/coinop/coinop/funding"
)

// PotClose ends a pot: it takes no more jobs and no more money, and what is left goes back when its
// jobs have ended, at once where there are none.
type PotClose struct {
	Pot     funding.PotID   `cbor:"1,keyasint"`
	Control funding.KeyHash `cbor:"2,keyasint"`
}

// PotCloseAnswer tells whether the money went back already.
type PotCloseAnswer struct {
	Pot      funding.PotID  `cbor:"1,keyasint"`
	Closed   bool           `cbor:"2,keyasint,omitempty"` // false: jobs are still open
	Refunded funding.Amount `cbor:"3,keyasint,omitempty"`
}

// Kind is part of [Command].
func (PotClose) Kind() Kind { return KindPotClose }

// A pot that is closed already answers as it did, so that the request may be repeated.
func (c PotClose) apply(tx *Tx, _ funding.Millis) (any, error) {
	pot, ok := tx.pots.get(c.Pot)
	if !ok {
		return nil, refuse(CodePotUnknown, "there is no pot %d; it may have ended and been forgotten", c.Pot)
	}
	if c.Control != pot.Keys.Control {
		return nil, refuse(CodeKeyWrong, "this is not the control key of pot %d", c.Pot)
	}
	if pot.Own != 0 && pot.State == funding.PotOpen {
		return nil, refuse(CodeInvalid, "pot %d was opened for job %d and ends with it; cancel the job", c.Pot, pot.Own)
	}
	if pot.State == funding.PotOpen {
		closing := *pot
		closing.State = funding.PotClosing
		pot = &closing
		tx.pots.put(pot.ID, pot)
		if pot.Jobs == 0 && pot.Held == 0 {
			var err error
			if pot, _, err = tx.closePot(pot, Event{}); err != nil {
				return nil, err
			}
		}
	}
	_, _, refunded := pot.Totals()
	return PotCloseAnswer{Pot: pot.ID, Closed: pot.State == funding.PotClosed, Refunded: refunded}, nil
}
