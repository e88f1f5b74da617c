package funding

import "fmt"

func (i Index) wide() wide { return wide{i.Hi, i.Lo} }

func (a wide) index() Index { return Index{Hi: a.hi, Lo: a.lo} }

// Cmp orders two indices: -1, 0 or 1.
func (i Index) Cmp(j Index) int { return i.wide().cmp(j.wide()) }

// Add is the sum of two indices, checked.
func (i Index) Add(j Index) (Index, error) {
	sum, ok := i.wide().add(j.wide())
	if !ok {
		return Index{}, fmt.Errorf("add indices: %w", ErrRange)
	}
	return sum.index(), nil
}

// Sub is how far an index lies behind another, checked.
func (i Index) Sub(j Index) (Index, error) {
	rest, ok := i.wide().sub(j.wide())
	if !ok {
		return Index{}, fmt.Errorf("subtract indices: %w", ErrRange)
	}
	return rest.index(), nil
}

// After is the index once a price has held for d milliseconds.
func (i Index) After(price Rate, d Millis) (Index, error) {
	if price < 0 || d < 0 {
		return Index{}, fmt.Errorf("index after %d ms at %d: %w", d, price, ErrRange)
	}
	return i.Add(product(uint64(price), uint64(d)).index())
}

// MulWeight is what a weight has accrued over a stretch of the index.
func (i Index) MulWeight(w Weight) (Accrual, error) {
	if w < 0 {
		return Accrual{}, fmt.Errorf("accrue for weight %d: %w", w, ErrRange)
	}
	total, ok := i.wide().times(uint64(w))
	if !ok {
		return Accrual{}, fmt.Errorf("accrue for weight %d: %w", w, ErrRange)
	}
	return Accrual{Hi: total.hi, Lo: total.lo}, nil
}

// Accrual is weight × index, in millionths of a micro-unit: what is owed before it is rounded.
type Accrual struct {
	Hi uint64 `cbor:"1,keyasint"`
	Lo uint64 `cbor:"2,keyasint"`
}

func (a Accrual) wide() wide { return wide{a.Hi, a.Lo} }

func (a wide) accrual() Accrual { return Accrual{Hi: a.hi, Lo: a.lo} }

// Cmp orders two accruals: -1, 0 or 1.
func (a Accrual) Cmp(b Accrual) int { return a.wide().cmp(b.wide()) }

// Add is the sum of two accruals, checked.
func (a Accrual) Add(b Accrual) (Accrual, error) {
	sum, ok := a.wide().add(b.wide())
	if !ok {
		return Accrual{}, fmt.Errorf("add accruals: %w", ErrRange)
	}
	return sum.accrual(), nil
}

// Sub is what is left of an accrual without a part of it, checked.
func (a Accrual) Sub(b Accrual) (Accrual, error) {
	rest, ok := a.wide().sub(b.wide())
	if !ok {
		return Accrual{}, fmt.Errorf("subtract accruals: %w", ErrRange)
	}
	return rest.accrual(), nil
}

// Up is the accrual in micro-units, rounded up.
func (a Accrual) Up() (Amount, error) {
	rounded, ok := a.wide().up(micro)
	amount, fits := rounded.int63()
	if !ok || !fits {
		return 0, fmt.Errorf("round an accrual: %w", ErrRange)
	}
	return Amount(amount), nil
}

// Owed is what weight w owes for a stretch of the index, rounded up.
func Owed(w Weight, from, to Index) (Amount, error) {
	stretch, err := to.Sub(from)
	if err != nil {
		return 0, fmt.Errorf("owed: %w", err)
	}
	accrued, err := stretch.MulWeight(w)
	if err != nil {
		return 0, fmt.Errorf("owed: %w", err)
	}
	return accrued.Up()
}
