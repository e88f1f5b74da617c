package funding

import (
	"errors"
	"fmt"
)

// ErrOverdrawn means that an account would hold less than nothing.
var ErrOverdrawn = errors.New("overdrawn")

// Balances is what Post reads: every account's balance, positive on the side on which it grows.
type Balances interface {
	Balance(Account) Amount
}

// Change is an account's balance after transfers.
type Change struct {
	Account Account
	Balance Amount
}

// limit is the most that an account may hold. Everything comes from the rails, so a bound there
// bounds every sum.
func (a Account) limit() Amount {
	switch a.Kind {
	case AssetRail, LiabilityCoins:
		return IssueMax
	case LiabilityPot:
		return PotMax
	}
	return 1<<63 - 1
}

// Check refuses a transfer that moves nothing, or moves it nowhere.
func (t Transfer) Check() error {
	switch {
	case t.Amount <= 0:
		return fmt.Errorf("transfer %d from %v to %v: %w", t.Amount, t.Debit, t.Credit, ErrRange)
	case t.Debit == t.Credit:
		return fmt.Errorf("transfer from %v to itself: %w", t.Debit, ErrRange)
	case t.Debit.Kind == 0 || t.Debit.Kind > ExpenseOverrun || t.Credit.Kind == 0 || t.Credit.Kind > ExpenseOverrun:
		return fmt.Errorf("transfer between unknown accounts %v and %v: %w", t.Debit, t.Credit, ErrRange)
	}
	return nil
}

// Post takes transfers in their order and gives the balances that change, or refuses all of them.
// No account may fall below zero or rise above its limit: a forged coin can take out no more than
// was ever paid in.
func Post(balances Balances, transfers ...Transfer) ([]Change, error) {
	changes := make([]Change, 0, 2*len(transfers))
	at := func(a Account) *Change {
		for i := range changes {
			if changes[i].Account == a {
				return &changes[i]
			}
		}
		changes = append(changes, Change{a, balances.Balance(a)})
		return &changes[len(changes)-1]
	}
	move := func(a Account, amount Amount) error {
		change := at(a)
		sum, err := change.Balance.Plus(amount)
		switch {
		case err != nil:
			return fmt.Errorf("move %d on %v: %w", amount, a, err)
		case sum < 0:
			return fmt.Errorf("take %d from %v, which has %d: %w", -amount, a, change.Balance, ErrOverdrawn)
		case sum > a.limit():
			return fmt.Errorf("add %d to %v, which has %d: %w", amount, a, change.Balance, ErrRange)
		}
		change.Balance = sum
		return nil
	}
	for _, t := range transfers {
		if err := t.Check(); err != nil {
			return nil, err
		}
		debit, credit := -t.Amount, t.Amount
		if t.Debit.Kind.debited() {
			debit = -debit
		}
		if t.Credit.Kind.debited() {
			credit = -credit
		}
		if err := errors.Join(move(t.Debit, debit), move(t.Credit, credit)); err != nil {
			return nil, fmt.Errorf("post %v: %w", t.Code, err)
		}
	}
	return changes, nil
}
