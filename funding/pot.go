package funding

import (
	"errors"
	"fmt"
	"slices"
)

// DepositsMax bounds the deposits of one pot: each is a line that settlements and receipts walk.
const DepositsMax = 1024

// Errors of pots.
var (
	ErrPolicy = errors.New("policy not supported")
	ErrClosed = errors.New("pot closed")
	ErrCap    = errors.New("more than the owner lets others add")
	ErrFull   = errors.New("too many deposits")
)

// DepositID numbers the deposits of a pot from 1.
type DepositID uint32

// Deposit is one payment into a pot: a line of its own, with its own way back.
type Deposit struct {
	ID       DepositID `cbor:"1,keyasint"`
	At       Millis    `cbor:"2,keyasint"`
	Amount   Amount    `cbor:"3,keyasint"`
	Charged  Amount    `cbor:"4,keyasint,omitempty"`
	Refunded Amount    `cbor:"5,keyasint,omitempty"`
	Way      Way       `cbor:"6,keyasint"`
	Claim    KeyHash   `cbor:"7,keyasint,omitzero"` // of ByClaim, and where blanks turn out useless
	Keyset   uint32    `cbor:"8,keyasint,omitempty"`
	Blanks   []Blank   `cbor:"9,keyasint,omitempty"`
	Owner    bool      `cbor:"10,keyasint,omitempty"` // paid by the pot's owner with its creation
}

// Left is what is neither charged nor refunded.
func (d Deposit) Left() Amount { return d.Amount - d.Charged - d.Refunded }

// PotState is where a pot stands.
type PotState uint8

// A pot is open, closing (no more jobs, those it has go on) or closed.
const (
	PotOpen PotState = iota + 1
	PotClosing
	PotClosed
)

// Pot is money for one job or for many. Records are immutable: methods return a new one.
type Pot struct {
	ID       PotID     `cbor:"1,keyasint"`
	Keys     Keys      `cbor:"2,keyasint"`
	Policy   Policy    `cbor:"3,keyasint,omitempty"`
	State    PotState  `cbor:"4,keyasint"`
	Deposits []Deposit `cbor:"5,keyasint,omitempty"` // in the order of arrival
	Held     Amount    `cbor:"6,keyasint,omitempty"` // reserved by work
	Jobs     int32     `cbor:"7,keyasint,omitempty"` // not ended
	Own      uint64    `cbor:"8,keyasint,omitempty"` // the only job, where the pot was opened for one
	Cap      *Amount   `cbor:"9,keyasint,omitempty"` // the most that others may add; nil: as they like
	Opened   Millis    `cbor:"10,keyasint"`
	Ended    Millis    `cbor:"11,keyasint,omitempty"`
}

// Balance is what the pot has: free and held.
func (p Pot) Balance() Amount {
	var sum Amount
	for i := range p.Deposits {
		sum += p.Deposits[i].Left()
	}
	return sum
}

// Free is what nothing has reserved.
func (p Pot) Free() Amount { return p.Balance() - p.Held }

// Totals are the sums over all deposits.
func (p Pot) Totals() (deposited, charged, refunded Amount) {
	for i := range p.Deposits {
		deposited += p.Deposits[i].Amount
		charged += p.Deposits[i].Charged
		refunded += p.Deposits[i].Refunded
	}
	return deposited, charged, refunded
}

// Account is the pot's account in the ledger.
func (p Pot) Account() Account { return Account{Kind: LiabilityPot, ID: uint64(p.ID)} }

// Deposit adds a payment. Its number is the next one; what was charged or refunded of it is nothing.
func (p Pot) Deposit(d Deposit) (Pot, error) {
	switch {
	case p.Policy != FirstIn:
		return p, fmt.Errorf("deposit into a pot that spends %v: %w", p.Policy, ErrPolicy)
	case p.State != PotOpen:
		return p, fmt.Errorf("deposit into pot %d: %w", p.ID, ErrClosed)
	case len(p.Deposits) >= DepositsMax:
		return p, fmt.Errorf("deposit number %d into pot %d: %w", len(p.Deposits)+1, p.ID, ErrFull)
	case d.Amount <= 0 || d.Amount > PotMax-p.lifetime():
		return p, fmt.Errorf("deposit %d into pot %d: %w", d.Amount, p.ID, ErrRange)
	case d.Way < ByBlanks || d.Way > Donated:
		return p, fmt.Errorf("deposit with no way back into pot %d: %w", p.ID, ErrRange)
	case !d.Owner && p.Cap != nil && d.Amount > *p.Cap-p.others():
		return p, fmt.Errorf("deposit %d into pot %d: %w", d.Amount, p.ID, ErrCap)
	}
	d.ID, d.Charged, d.Refunded = DepositID(len(p.Deposits)+1), 0, 0
	p.Deposits = append(slices.Clip(p.Deposits), d)
	return p, nil
}

// lifetime is all that was ever paid in. The bound of a pot is on this, so that no total of a
// receipt exceeds it.
func (p Pot) lifetime() Amount {
	deposited, _, _ := p.Totals()
	return deposited
}

func (p Pot) others() Amount {
	var sum Amount
	for i := range p.Deposits {
		if !p.Deposits[i].Owner {
			sum += p.Deposits[i].Amount
		}
	}
	return sum
}

// Hold reserves part of what is free.
func (p Pot) Hold(amount Amount) (Pot, error) {
	switch {
	case amount < 0:
		return p, fmt.Errorf("hold %d of pot %d: %w", amount, p.ID, ErrRange)
	case p.State == PotClosed:
		return p, fmt.Errorf("hold %d of pot %d: %w", amount, p.ID, ErrClosed)
	case amount > p.Free():
		return p, fmt.Errorf("hold %d of pot %d, which has %d free: %w", amount, p.ID, p.Free(), ErrShort)
	}
	p.Held += amount
	return p, nil
}

// Release gives back part of what was reserved. More than that is a mistake of ours.
func (p Pot) Release(amount Amount) (Pot, error) {
	if amount < 0 || amount > p.Held {
		return p, fmt.Errorf("release %d of pot %d, which holds %d: %w", amount, p.ID, p.Held, ErrRange)
	}
	p.Held -= amount
	return p, nil
}

// Draw is the part of a charge that one deposit bore.
type Draw struct {
	Deposit DepositID `cbor:"1,keyasint"`
	Amount  Amount    `cbor:"2,keyasint"`
}

// Charge spends what is not held, by the pot's policy, and says whose money it was.
func (p Pot) Charge(amount Amount) (Pot, []Draw, error) {
	switch {
	case p.Policy != FirstIn:
		return p, nil, fmt.Errorf("charge a pot that spends %v: %w", p.Policy, ErrPolicy)
	case amount < 0:
		return p, nil, fmt.Errorf("charge %d to pot %d: %w", amount, p.ID, ErrRange)
	case amount > p.Free():
		return p, nil, fmt.Errorf("charge %d to pot %d, which has %d free: %w", amount, p.ID, p.Free(), ErrShort)
	case amount == 0:
		return p, nil, nil
	}
	p.Deposits = slices.Clone(p.Deposits)
	var draws []Draw
	for i := range p.Deposits {
		part := min(amount, p.Deposits[i].Left())
		if part <= 0 {
			continue
		}
		p.Deposits[i].Charged += part
		draws = append(draws, Draw{p.Deposits[i].ID, part})
		if amount -= part; amount == 0 {
			break
		}
	}
	return p, draws, nil
}

// Settled is what a settlement did.
type Settled struct {
	Pot     Pot
	Posted  Amount // charged to the pot
	Overrun Amount // borne by the operator
	Draws   []Draw // whose money it was
}

// Settle posts min(owed, held) of what a hold reserves. What a late stop overran is the
// operator's, never a debt of the pot.
func (p Pot) Settle(owed, held Amount) (Settled, error) {
	if owed < 0 || held < 0 {
		return Settled{}, fmt.Errorf("settle %d of %d held: %w", owed, held, ErrRange)
	}
	posted := min(owed, held)
	after, err := p.Release(posted)
	if err != nil {
		return Settled{}, fmt.Errorf("settle: %w", err)
	}
	after, draws, err := after.Charge(posted)
	if err != nil {
		return Settled{}, fmt.Errorf("settle: %w", err)
	}
	return Settled{Pot: after, Posted: posted, Overrun: owed - posted, Draws: draws}, nil
}
