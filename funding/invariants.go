package funding

import (
	"fmt"
	"slices"
)

// Violation is an invariant that does not hold: its name as the design lists it, and what was found.
type Violation struct {
	Invariant string
	Found     string
}

func (v *Violation) Error() string { return v.Invariant + ": " + v.Found }

func violated(invariant, format string, args ...any) error {
	return &Violation{invariant, fmt.Sprintf(format, args...)}
}

// CheckBalances holds the whole ledger against itself: no account overdrawn or above its limit
// (I2), and what rails hold and the operator bore is what is owed and earned (I1, I4).
func CheckBalances(accounts []Change) error {
	var debits, credits wide
	for _, a := range accounts {
		switch {
		case a.Balance < 0:
			return violated("I2", "%v holds %d", a.Account, a.Balance)
		case a.Balance > a.Account.limit():
			return violated("I2", "%v holds %d, its limit is %d", a.Account, a.Balance, a.Account.limit())
		}
		side := &credits
		if a.Account.Kind.debited() {
			side = &debits
		}
		*side, _ = side.add(wide{0, uint64(a.Balance)})
	}
	if debits != credits {
		return violated("I4", "rails and overruns are %d, coins, pots, refunds and income are %d", debits.lo, credits.lo)
	}
	return nil
}

// CheckPot holds a pot against its account and against the work that has reserved its money (I2,
// I5, I6, I7): held is the sum of all that jobs and streams say they hold of it.
func CheckPot(p Pot, account, held Amount) error {
	for i, d := range p.Deposits {
		switch {
		case d.ID != DepositID(i+1):
			return violated("I6", "deposit %d of pot %d is numbered %d", i+1, p.ID, d.ID)
		case d.Amount <= 0 || d.Charged < 0 || d.Refunded < 0 || d.Left() < 0:
			return violated("I7", "deposit %d of pot %d: %d came, %d was charged, %d went back", d.ID, p.ID, d.Amount, d.Charged, d.Refunded)
		case p.State == PotClosed && d.Left() != 0:
			return violated("I6", "pot %d is closed and deposit %d has %d left", p.ID, d.ID, d.Left())
		}
	}
	switch {
	case p.Held < 0 || p.Held > p.Balance():
		return violated("I2", "pot %d holds %d of %d", p.ID, p.Held, p.Balance())
	case p.Held != held:
		return violated("I5", "pot %d says that %d is held, its work says %d", p.ID, p.Held, held)
	case p.Balance() != account:
		return violated("I6", "the deposits of pot %d have %d left, its account has %d", p.ID, p.Balance(), account)
	}
	return nil
}

// CheckDraws says whether the parts that deposits bore are the whole (I10).
func CheckDraws(charged Amount, draws []Draw) error {
	var sum Amount
	for i, d := range draws {
		if d.Amount <= 0 || i > 0 && draws[i-1].Deposit >= d.Deposit {
			return violated("I10", "draws %v are not positive and ascending", draws)
		}
		sum += d.Amount
	}
	if sum != charged {
		return violated("I10", "draws are %d in all, charged was %d", sum, charged)
	}
	return nil
}

// CheckPolicy says whether a pot that spends first in, first out did: no deposit is touched while
// an older one has money left (I7).
func CheckPolicy(p Pot) error {
	if p.Policy != FirstIn || p.State == PotClosed {
		return nil
	}
	for i := 1; i < len(p.Deposits); i++ {
		if p.Deposits[i].Charged > 0 && p.Deposits[i-1].Left() > 0 {
			return violated("I7", "pot %d charged deposit %d before deposit %d was used up", p.ID, i+1, i)
		}
	}
	return nil
}

// Billing is one run's metered time and what was charged for it.
type Billing struct {
	Weight Weight
	Bid    Rate
	Slot   uint64 // two runs of one slot may not overlap
	Placed Millis
	Spans  []Billed // what was metered, ascending: without the time that was frozen
	Until  Millis   // when its place was given back
	Usage  Amount   // charged and overrun, without the one-second minimum
}

// Billed is metered time from From up to To.
type Billed struct{ From, To Millis }

// CheckBilling computes a run's charge anew, from the pool's prices alone, as one settlement
// (I11), and holds the metered time against the time for which the run had its place (I8).
func CheckBilling(s Series, b Billing) error {
	var sum Accrual
	last := b.Placed
	for _, span := range b.Spans {
		if span.From < last || span.To < span.From || span.To > b.Until {
			return violated("I8", "metered from %d to %d; the place was held from %d to %d", span.From, span.To, last, b.Until)
		}
		last = span.To
		stretch, err := s.At(span.To).Sub(s.At(span.From))
		if err != nil {
			return err
		}
		part, err := stretch.MulWeight(b.Weight)
		if err != nil {
			return err
		}
		if sum, err = sum.Add(part); err != nil {
			return err
		}
	}
	owed, err := sum.Up()
	if err != nil {
		return err
	}
	if owed != b.Usage {
		return violated("I11", "settled %d, one settlement would have been %d", b.Usage, owed)
	}
	return nil
}

// CheckSlots says whether runs that had the same slot had it one after the other (I8).
func CheckSlots(runs []Billing) error {
	sorted := slices.Clone(runs)
	slices.SortStableFunc(sorted, func(a, b Billing) int {
		if a.Slot != b.Slot {
			if a.Slot < b.Slot {
				return -1
			}
			return 1
		}
		return int(min(max(a.Placed-b.Placed, -1), 1))
	})
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; a.Slot == b.Slot && b.Placed < a.Until {
			return violated("I8", "slot %d was given away at %d and had until %d", a.Slot, b.Placed, a.Until)
		}
	}
	return nil
}

// CheckExhaustion says whether something ran past the end of its money without a booked overrun
// (I9): tick is how late the machine may notice.
func CheckExhaustion(s Series, h StreamHold, at, tick Millis) error {
	if h.Runs == 0 || h.Closing {
		return nil
	}
	end, ok := h.Threshold(h.Held)
	if !ok {
		return nil
	}
	if when, ok := s.When(end); ok && at > when+tick {
		return violated("I9", "pot %d in pool %d ran out at %d and runs at %d", h.Pot, h.Pool, when, at)
	}
	return nil
}
