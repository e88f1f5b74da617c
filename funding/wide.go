package funding

import "math/bits"

// wide is an unsigned 128-bit number: products of money are taken in it before they are divided.
type wide struct{ hi, lo uint64 }

func product(a, b uint64) wide {
	hi, lo := bits.Mul64(a, b)
	return wide{hi, lo}
}

func (a wide) add(b wide) (wide, bool) {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, over := bits.Add64(a.hi, b.hi, carry)
	return wide{hi, lo}, over == 0
}

func (a wide) sub(b wide) (wide, bool) {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, under := bits.Sub64(a.hi, b.hi, borrow)
	return wide{hi, lo}, under == 0
}

func (a wide) cmp(b wide) int {
	switch {
	case a.hi != b.hi && a.hi < b.hi, a.hi == b.hi && a.lo < b.lo:
		return -1
	case a == b:
		return 0
	}
	return 1
}

func (a wide) times(f uint64) (wide, bool) {
	over, top := bits.Mul64(a.hi, f)
	hi, lo := bits.Mul64(a.lo, f)
	hi, carry := bits.Add64(hi, top, 0)
	return wide{hi, lo}, over == 0 && carry == 0
}

// divide gives the quotient and the remainder; a divisor of zero is the caller's mistake.
func (a wide) divide(by uint64) (wide, uint64) {
	hi, rest := bits.Div64(0, a.hi, by)
	lo, rest := bits.Div64(rest, a.lo, by)
	return wide{hi, lo}, rest
}

// down and up are the only places where money is rounded.
func (a wide) down(by uint64) wide {
	quotient, _ := a.divide(by)
	return quotient
}

func (a wide) up(by uint64) (wide, bool) {
	quotient, rest := a.divide(by)
	if rest == 0 {
		return quotient, true
	}
	return quotient.add(wide{0, 1})
}

// int63 is the number where it fits a signed 64-bit one.
func (a wide) int63() (int64, bool) {
	if a.hi != 0 || a.lo > 1<<63-1 {
		return 0, false
	}
	return int64(a.lo), true
}
