package funding

import (
	"errors"
	"fmt"
)

// Errors of the arithmetic. What can be asked for is bounded, so both mean that a number from
// outside was let in unchecked or that a request is too large.
var (
	ErrRange = errors.New("out of range")
	ErrShort = errors.New("too little money")
)

// micro is what a rate × thousandths × milliseconds is divided by to give micro-units.
const micro = 1_000_000

// Check refuses a rate that no bid and no price may have.
func (r Rate) Check() error {
	if r < 0 || r > RateMax {
		return fmt.Errorf("rate %d is not between 0 and %d: %w", r, RateMax, ErrRange)
	}
	return nil
}

// Check refuses a weight that nothing can have.
func (w Weight) Check() error {
	if w <= 0 || w > WeightMax {
		return fmt.Errorf("weight %d is not between 1 and %d: %w", w, WeightMax, ErrRange)
	}
	return nil
}

// Check refuses a time before the beginning or after a century.
func (m Millis) Check() error {
	if m < 0 || m > MillisMax {
		return fmt.Errorf("time %d is not between 0 and %d ms: %w", m, MillisMax, ErrRange)
	}
	return nil
}

// Cost is what weight w costs at this rate for d milliseconds, rounded up.
func (r Rate) Cost(w Weight, d Millis) (Amount, error) {
	if err := errors.Join(r.Check(), w.Check(), d.Check()); err != nil {
		return 0, fmt.Errorf("cost: %w", err)
	}
	// A rate below 2^40, a weight below 2^30 and a time below 2^42: the product stays below 2^112.
	total, _ := product(uint64(r), uint64(w)).times(uint64(d))
	rounded, _ := total.up(micro)
	cost, ok := rounded.int63()
	if !ok {
		return 0, fmt.Errorf("cost of weight %d for %d ms at %d: %w", w, d, r, ErrRange)
	}
	return Amount(cost), nil
}

// BidFor is the highest rate at which pay lasts for weight w and d milliseconds: rounded down, so
// that what it costs never exceeds pay.
func BidFor(pay Amount, w Weight, d Millis) (Rate, error) {
	if err := errors.Join(pay.check(), w.Check(), d.Check()); err != nil {
		return 0, fmt.Errorf("bid: %w", err)
	}
	if d == 0 {
		return 0, fmt.Errorf("bid for no time at all: %w", ErrRange)
	}
	// pay/w/d is taken in two steps: flooring twice is flooring once.
	bid, ok := product(uint64(pay), micro).down(uint64(w)).down(uint64(d)).int63()
	if !ok || Rate(bid) > RateMax {
		return RateMax, nil
	}
	return Rate(bid), nil
}

// TimeFor is the longest time that pay lasts for weight w at rate r, rounded down.
func TimeFor(pay Amount, w Weight, r Rate) (Millis, error) {
	if err := errors.Join(pay.check(), w.Check(), r.Check()); err != nil {
		return 0, fmt.Errorf("time: %w", err)
	}
	if r == 0 {
		return MillisMax, nil
	}
	d, ok := product(uint64(pay), micro).down(uint64(w)).down(uint64(r)).int63()
	if !ok || Millis(d) > MillisMax {
		return MillisMax, nil
	}
	return Millis(d), nil
}

func (a Amount) check() error {
	if a < 0 {
		return fmt.Errorf("amount %d is negative: %w", a, ErrRange)
	}
	return nil
}

// Plus adds two amounts, checked.
func (a Amount) Plus(b Amount) (Amount, error) {
	sum := a + b
	if (sum > a) != (b > 0) {
		return 0, fmt.Errorf("add %d and %d: %w", a, b, ErrRange)
	}
	return sum, nil
}

// Times is an amount taken n times, checked.
func (a Amount) Times(n int64) (Amount, error) {
	if a < 0 || n < 0 {
		return 0, fmt.Errorf("%d times %d: %w", n, a, ErrRange)
	}
	total, ok := product(uint64(a), uint64(n)).int63()
	if !ok {
		return 0, fmt.Errorf("%d times %d: %w", n, a, ErrRange)
	}
	return Amount(total), nil
}

// Fit is how many times an amount goes into this one; without a price there is no end.
func (a Amount) Fit(each Amount) int64 {
	switch {
	case a < 0:
		return 0
	case each <= 0:
		return 1<<63 - 1
	}
	return int64(a / each)
}

// Units is the whole units in an amount: what can be given as coins.
func (a Amount) Units() uint64 { return uint64(max(a, 0) / UnitMicro) }

// FromUnits turns whole units into an amount, checked against what one pot may hold.
func FromUnits(units uint64) (Amount, error) {
	if units > uint64(PotMax/UnitMicro) {
		return 0, fmt.Errorf("%d units are more than a pot holds: %w", units, ErrRange)
	}
	return Amount(units) * UnitMicro, nil
}
