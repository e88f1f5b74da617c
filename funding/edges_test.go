package funding

import (
	"errors"
	"testing"
)

const most = Amount(1<<63 - 1)

func TestSumsAtTheEdge(t *testing.T) {
	for _, c := range []struct {
		a, b, want Amount
		ok         bool
	}{
		{5, 0, 5, true}, {0, 0, 0, true}, {most, 0, most, true}, {most - 1, 1, most, true}, {most, 1, 0, false},
		{-most, -1, -most - 1, true}, {-most, -2, 0, false}, {5, -5, 0, true}, {-5, 5, 0, true}, {1, most, 0, false},
	} {
		got, err := c.a.Plus(c.b)
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("%d + %d = %d, %v", c.a, c.b, got, err)
		}
	}
}

func TestWidestNumberThatFits(t *testing.T) {
	for _, c := range []struct {
		a  wide
		ok bool
	}{{wide{0, 1<<63 - 1}, true}, {wide{0, 1 << 63}, false}, {wide{1, 0}, false}, {wide{0, 0}, true}} {
		if _, ok := c.a.int63(); ok != c.ok {
			t.Errorf("%v fits: %v", c.a, ok)
		}
	}
}

// Rates, weights and times are allowed up to their bounds and not beyond.
func TestBoundsAreInclusive(t *testing.T) {
	for story, c := range map[string]struct {
		err error
		ok  bool
	}{
		"no rate":            {Rate(0).Check(), true},
		"the highest rate":   {RateMax.Check(), true},
		"above it":           {(RateMax + 1).Check(), false},
		"the least weight":   {Weight(1).Check(), true},
		"no weight":          {Weight(0).Check(), false},
		"the most weight":    {WeightMax.Check(), true},
		"above that":         {(WeightMax + 1).Check(), false},
		"the beginning":      {Millis(0).Check(), true},
		"before it":          {Millis(-1).Check(), false},
		"a century":          {MillisMax.Check(), true},
		"a millisecond more": {(MillisMax + 1).Check(), false},
	} {
		if (c.err == nil) != c.ok {
			t.Errorf("%s: %v", story, c.err)
		}
	}
}

func TestAccountsAtTheirLimits(t *testing.T) {
	b := book{}
	if err := b.post(Transfer{rail, coins, IssueMax, CodeIssue}); err != nil {
		t.Fatalf("all that may be issued: %v", err)
	}
	if err := b.post(Transfer{rail, coins, 1, CodeIssue}); !errors.Is(err, ErrRange) {
		t.Errorf("one more: %v", err)
	}
	if err := b.post(Transfer{coins, pot7, PotMax, CodePay}); err != nil {
		t.Errorf("the fullest pot: %v", err)
	}
	if err := b.post(Transfer{coins, pot7, 1, CodePay}); !errors.Is(err, ErrRange) {
		t.Errorf("fuller: %v", err)
	}
	if err := b.post(Transfer{pot7, coins, PotMax, CodeRefund}, Transfer{coins, rail, IssueMax, CodePayout}); err != nil {
		t.Errorf("all the way back: %v", err)
	}
	if err := CheckBalances(b.accounts()); err != nil {
		t.Error(err)
	}
}

// Slots are compared in the order of placement, whatever the order in which runs are told.
func TestSlotsInAnyOrder(t *testing.T) {
	early, late := Billing{Slot: 3, Placed: 0, Until: 100}, Billing{Slot: 3, Placed: 100, Until: 200}
	overlap := Billing{Slot: 3, Placed: 99, Until: 150}
	for _, runs := range [][]Billing{{early, late}, {late, early}, {late, {Slot: 2, Until: 500}, early}} {
		if err := CheckSlots(runs); err != nil {
			t.Errorf("%v: %v", runs, err)
		}
	}
	for _, runs := range [][]Billing{{early, overlap}, {overlap, early}, {late, early, overlap}} {
		if err := CheckSlots(runs); err == nil {
			t.Errorf("%v: not found", runs)
		}
	}
}

// A pot's methods give a new pot; the one before stays as it was, for whoever still reads it.
func TestPotsAreImmutable(t *testing.T) {
	before := pot(t, deposit(10, ByClaim), deposit(20, ByBlanks))
	a := must(before.Deposit(deposit(1, Donated)))
	b := must(before.Deposit(deposit(2, Donated)))
	if a.Deposits[2].Amount != UnitMicro || b.Deposits[2].Amount != 2*UnitMicro {
		t.Error("two pots made of one share their deposits")
	}
	held := must(before.Hold(5 * UnitMicro))
	if _, err := held.Settle(5*UnitMicro, 5*UnitMicro); err != nil {
		t.Fatal(err)
	}
	if _, _, err := before.Close(1); err != nil {
		t.Fatal(err)
	}
	if before.Held != 0 || len(before.Deposits) != 2 || before.Balance() != 30*UnitMicro || held.Balance() != before.Balance() || before.State != PotOpen {
		t.Errorf("the pot before changed: %+v", before)
	}
}

// Holding and charging just what is free is allowed, a micro-unit more is not.
func TestPotToTheLast(t *testing.T) {
	p := pot(t, deposit(1, ByClaim))
	if _, err := p.Hold(UnitMicro + 1); !errors.Is(err, ErrShort) {
		t.Errorf("more than there is: %v", err)
	}
	p = must(p.Hold(UnitMicro))
	if _, err := p.Hold(1); !errors.Is(err, ErrShort) || p.Free() != 0 {
		t.Errorf("more than is free: %v", err)
	}
	s, err := p.Settle(UnitMicro, UnitMicro)
	if err != nil || s.Pot.Balance() != 0 || s.Overrun != 0 {
		t.Errorf("to the last: %+v, %v", s, err)
	}
	_, backs, err := s.Pot.Close(1)
	if err != nil || len(backs) != 0 {
		t.Errorf("nothing is left, nothing goes back: %v, %v", backs, err)
	}
}
