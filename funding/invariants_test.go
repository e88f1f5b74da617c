package funding

import (
	"errors"
	"testing"
)

// Each checker is shown a fault that it must find.
func TestInvariantsBite(t *testing.T) {
	s := series(t, 0, 10, 10_000, 20)
	good := Billing{Weight: 1000, Placed: 500, Spans: []Billed{{1000, 2000}, {3000, 12_000}}, Until: 12_000, Usage: 120}
	fine := pot(t, deposit(5, ByClaim), deposit(5, ByClaim))
	fine, _, _ = fine.Charge(6 * UnitMicro)
	fine.Held = UnitMicro
	left, held := 4*UnitMicro, UnitMicro
	dry := must(StreamHold{}.Start(1000, Index{}, 51))
	for story, err := range map[string]error{
		"billing":  CheckBilling(s, good),
		"slots":    CheckSlots([]Billing{{Slot: 2, Placed: 5, Until: 9}, {Slot: 1, Placed: 9, Until: 10}, {Slot: 1, Until: 9}}),
		"pot":      CheckPot(fine, left, held),
		"policy":   CheckPolicy(fine),
		"draws":    CheckDraws(3, []Draw{{1, 1}, {2, 2}}),
		"balances": CheckBalances([]Change{{rail, 5}, {over, 1}, {coins, 6}}),
		"money":    CheckExhaustion(s, dry, 5000, 0),
		"late":     CheckExhaustion(s, dry, 15_000, 10_000),
		"no runs":  CheckExhaustion(s, StreamHold{}, 1<<40, 0),
	} {
		if err != nil {
			t.Errorf("%s: %v", story, err)
		}
	}
	billing := func(change func(*Billing)) error {
		b := good
		change(&b)
		return CheckBilling(s, b)
	}
	spoiled := func(change func(*Pot)) error {
		p := fine
		p.Deposits = append([]Deposit(nil), fine.Deposits...)
		change(&p)
		return errors.Join(CheckPot(p, left, held), CheckPolicy(p))
	}
	for story, c := range map[string]struct {
		err  error
		want string
	}{
		"settled too much":            {billing(func(b *Billing) { b.Usage++ }), "I11"},
		"settled too little":          {billing(func(b *Billing) { b.Usage-- }), "I11"},
		"metered before the place":    {billing(func(b *Billing) { b.Placed = 1001 }), "I8"},
		"metered after the place":     {billing(func(b *Billing) { b.Until-- }), "I8"},
		"an instant metered twice":    {billing(func(b *Billing) { b.Spans = []Billed{{1000, 2000}, {1999, 12_000}} }), "I8"},
		"metered backwards":           {billing(func(b *Billing) { b.Spans = []Billed{{2000, 1000}} }), "I8"},
		"a slot given away twice":     {CheckSlots([]Billing{{Slot: 1, Placed: 8, Until: 10}, {Slot: 1, Until: 9}}), "I8"},
		"an account overdrawn":        {CheckBalances([]Change{{coins, -1}}), "I2"},
		"an account above its limit":  {CheckBalances([]Change{{pot7, PotMax + 1}}), "I2"},
		"coins out of nothing":        {CheckBalances([]Change{{rail, 5}, {coins, 6}}), "I4"},
		"draws that are short":        {CheckDraws(3, []Draw{{1, 2}}), "I10"},
		"draws out of order":          {CheckDraws(3, []Draw{{2, 2}, {1, 1}}), "I10"},
		"an empty draw":               {CheckDraws(2, []Draw{{1, 2}, {2, 0}}), "I10"},
		"a hold that nobody has":      {spoiled(func(p *Pot) { p.Held++ }), "I5"},
		"held more than there is":     {spoiled(func(p *Pot) { p.Held = 5 * UnitMicro }), "I2"},
		"held less than nothing":      {spoiled(func(p *Pot) { p.Held = -1 }), "I2"},
		"a deposit charged twice":     {spoiled(func(p *Pot) { p.Deposits[1].Charged *= 2 }), "I6"},
		"a deposit charged too much":  {spoiled(func(p *Pot) { p.Deposits[1].Charged = 6 * UnitMicro }), "I7"},
		"a deposit that was lost":     {spoiled(func(p *Pot) { p.Deposits = p.Deposits[1:] }), "I6"},
		"closed with money in it":     {spoiled(func(p *Pot) { p.State = PotClosed }), "I6"},
		"the younger money first":     {spoiled(func(p *Pot) { p.Deposits[0].Charged -= 2; p.Deposits[1].Charged += 2 }), "I7"},
		"runs on after the money end": {CheckExhaustion(s, dry, 15_001, 10_000), "I9"},
	} {
		var v *Violation
		if !errors.As(c.err, &v) || v.Invariant != c.want {
			t.Errorf("%s: %v; want %s", story, c.err, c.want)
		}
	}
}
