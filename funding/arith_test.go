package funding

import (
	"errors"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestCost(t *testing.T) {
	for _, c := range []struct {
		story string
		rate  Rate
		w     Weight
		d     Millis
		want  Amount
	}{
		{"two units for 372 s at 10", 10, 2000, 372_000, 7440},
		{"an hour at a bid of 13", 13, 2000, 3_600_000, 93_600},
		{"a millisecond costs something", 1, 1, 1, 1},
		{"a second of one unit at 1 is exact", 1, 1000, 1000, 1},
		{"a millisecond more rounds up", 1, 1000, 1001, 2},
		{"no time, no cost", 13, 2000, 0, 0},
		{"a price of nothing", 0, 2000, 3_600_000, 0},
		{"a year of a GPU", 2_500_000, 20_000, 365 * 86_400_000, 1_576_800_000_000_000},
	} {
		got, err := c.rate.Cost(c.w, c.d)
		if err != nil || got != c.want {
			t.Errorf("%s: %d, %v; want %d", c.story, got, err, c.want)
		}
	}
}

func TestArithmeticRefuses(t *testing.T) {
	for story, f := range map[string]func() error{
		"negative rate":        func() error { _, err := Rate(-1).Cost(1, 1); return err },
		"rate above the bound": func() error { _, err := (RateMax + 1).Cost(1, 1); return err },
		"no weight":            func() error { _, err := Rate(1).Cost(0, 1); return err },
		"too heavy":            func() error { _, err := Rate(1).Cost(WeightMax+1, 1); return err },
		"negative time":        func() error { _, err := Rate(1).Cost(1, -1); return err },
		"after a century":      func() error { _, err := Rate(1).Cost(1, MillisMax+1); return err },
		"cost beyond 64 bits":  func() error { _, err := RateMax.Cost(WeightMax, MillisMax); return err },
		"bid of negative pay":  func() error { _, err := BidFor(-1, 1, 1); return err },
		"bid for no time":      func() error { _, err := BidFor(1, 1, 0); return err },
		"bid for no weight":    func() error { _, err := BidFor(1, 0, 1); return err },
		"time of negative pay": func() error { _, err := TimeFor(-1, 1, 1); return err },
		"sum beyond 64 bits":   func() error { _, err := Amount(1<<63 - 1).Plus(1); return err },
		"sum below 64 bits":    func() error { _, err := Amount(-1 << 63).Plus(-1); return err },
		"product beyond":       func() error { _, err := Amount(1 << 62).Times(2); return err },
		"negative product":     func() error { _, err := Amount(1).Times(-1); return err },
		"a run owes backwards": func() error { _, err := Owed(1, Index{Lo: 2}, Index{Lo: 1}); return err },
		"index beyond 128":     func() error { _, err := (Index{Hi: 1<<64 - 1, Lo: 1<<64 - 1}).Add(Index{Lo: 1}); return err },
		"weight times index":   func() error { _, err := (Index{Hi: 1 << 63}).MulWeight(2); return err },
		"negative weight":      func() error { _, err := (Index{}).MulWeight(-1); return err },
		"owed beyond 64 bits":  func() error { _, err := Owed(1, Index{}, Index{Hi: 1 << 60}); return err },
		"index runs backwards": func() error { _, err := (Index{}).After(1, -1); return err },
		"accrual beyond 128":   func() error { _, err := (Accrual{Hi: 1<<64 - 1}).Add(Accrual{Hi: 1}); return err },
		"accrual below zero":   func() error { _, err := (Accrual{}).Sub(Accrual{Lo: 1}); return err },
		"more than a pot":      func() error { _, err := FromUnits(uint64(PotMax/UnitMicro) + 1); return err },
	} {
		if err := f(); !errors.Is(err, ErrRange) {
			t.Errorf("%s: %v; want out of range", story, err)
		}
	}
}

func TestAmounts(t *testing.T) {
	if got, err := FromUnits(9_000_000_000); err != nil || got != PotMax {
		t.Errorf("the fullest pot: %d, %v", got, err)
	}
	if got := Amount(2_999_999).Units(); got != 2 {
		t.Errorf("2.999999 units are %d whole ones", got)
	}
	if got := Amount(-5).Units(); got != 0 {
		t.Errorf("a debt is %d units", got)
	}
	if got := Amount(10).Fit(3); got != 3 {
		t.Errorf("3 goes into 10 %d times", got)
	}
	if got := Amount(-10).Fit(3); got != 0 {
		t.Errorf("3 goes into a debt %d times", got)
	}
	if got := Amount(10).Fit(0); got != 1<<63-1 {
		t.Errorf("nothing goes into 10 %d times", got)
	}
	if got, err := Amount(93_600).Times(100); err != nil || got != 9_360_000 {
		t.Errorf("a hundred holds: %d, %v", got, err)
	}
}

func genRate(t *rapid.T) Rate {
	return Rate(rapid.Int64Range(0, int64(RateMax)).Draw(t, "rate"))
}

func genWeight(t *rapid.T) Weight {
	return Weight(rapid.Int64Range(1, int64(WeightMax)).Draw(t, "weight"))
}

func genTime(t *rapid.T) Millis {
	return Millis(rapid.Int64Range(0, int64(MillisMax)).Draw(t, "time"))
}

// What 128 bits give is what numbers without bounds give.
func TestCostAgreesWithBigNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, w, d := genRate(t), genWeight(t), genTime(t)
		exact := new(big.Int).Mul(big.NewInt(int64(r)), big.NewInt(int64(w)))
		exact.Mul(exact, big.NewInt(int64(d))).Add(exact, big.NewInt(micro-1)).Div(exact, big.NewInt(micro))
		got, err := r.Cost(w, d)
		if exact.IsInt64() != (err == nil) {
			t.Fatalf("fits: %v, but %v", exact.IsInt64(), err)
		}
		if err == nil && int64(got) != exact.Int64() {
			t.Fatalf("%d; want %v", got, exact)
		}
	})
}

func TestWideAgreesWithBigNumbers(t *testing.T) {
	whole := func(a wide) *big.Int {
		n := new(big.Int).SetUint64(a.hi)
		return n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(a.lo))
	}
	limit := new(big.Int).Lsh(big.NewInt(1), 128)
	rapid.Check(t, func(t *rapid.T) {
		a := wide{rapid.Uint64().Draw(t, "a.hi"), rapid.Uint64().Draw(t, "a.lo")}
		b := wide{rapid.Uint64().Draw(t, "b.hi"), rapid.Uint64().Draw(t, "b.lo")}
		f := rapid.Uint64Min(1).Draw(t, "f")
		check := func(what string, got wide, ok bool, want *big.Int) {
			if fits := want.Sign() >= 0 && want.Cmp(limit) < 0; fits != ok || ok && whole(got).Cmp(want) != 0 {
				t.Fatalf("%s: %v, %v; want %v", what, whole(got), ok, want)
			}
		}
		sum, ok := a.add(b)
		check("sum", sum, ok, new(big.Int).Add(whole(a), whole(b)))
		rest, ok := a.sub(b)
		check("difference", rest, ok, new(big.Int).Sub(whole(a), whole(b)))
		times, ok := a.times(f)
		check("product", times, ok, new(big.Int).Mul(whole(a), new(big.Int).SetUint64(f)))
		check("quotient", a.down(f), true, new(big.Int).Div(whole(a), new(big.Int).SetUint64(f)))
		up, ok := a.up(f)
		want := new(big.Int).Add(whole(a), new(big.Int).SetUint64(f-1))
		check("quotient rounded up", up, ok, want.Div(want, new(big.Int).SetUint64(f)))
		if a.cmp(b) != whole(a).Cmp(whole(b)) {
			t.Fatalf("%v against %v: %d", a, b, a.cmp(b))
		}
	})
}

// Whoever derives a bid or a time from money never owes more than that money, and could not have
// had one more of either.
func TestDerivedTermsAreCoveredAndTight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pay := Amount(rapid.Int64Range(0, int64(PotMax)).Draw(t, "pay"))
		w := genWeight(t)
		if d := genTime(t); d > 0 {
			bid, err := BidFor(pay, w, d)
			if err != nil {
				t.Fatal(err)
			}
			if cost, err := bid.Cost(w, d); err != nil || cost > pay {
				t.Fatalf("a bid of %d costs %d of %d, %v", bid, cost, pay, err)
			}
			if cost, err := (bid + 1).Cost(w, d); bid < RateMax && err == nil && cost <= pay {
				t.Fatalf("a bid of %d would have been paid too", bid+1)
			}
		}
		if r := genRate(t); r > 0 {
			d, err := TimeFor(pay, w, r)
			if err != nil {
				t.Fatal(err)
			}
			if cost, err := r.Cost(w, d); err != nil || cost > pay {
				t.Fatalf("%d ms cost %d of %d, %v", d, cost, pay, err)
			}
			if cost, err := r.Cost(w, d+1); d < MillisMax && err == nil && cost <= pay {
				t.Fatalf("%d ms would have been paid too", d+1)
			}
		}
	})
}

func TestTimeForNothing(t *testing.T) {
	if d, err := TimeFor(0, 1000, 0); err != nil || d != MillisMax {
		t.Errorf("at a price of nothing, money lasts %d ms, %v", d, err)
	}
	if bid, err := BidFor(PotMax, 1, 1); err != nil || bid != RateMax {
		t.Errorf("all the money for a moment is a bid of %d, %v", bid, err)
	}
}
