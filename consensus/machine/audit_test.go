package machine

import (
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// The check of the whole state finds each fault that is planted in it.
func TestCheckBites(t *testing.T) {
	for name, plant := range map[string]func(tx *state){
		"money from nowhere": func(s *state) { s.balances.put(coinsOf(1), s.balances.must(coinsOf(1))+1) },
		"an overdrawn account": func(s *state) {
			s.balances.put(coinsOf(1), -1)
		},
		"a pot that forgot a deposit": func(s *state) {
			pot := *s.pots.must(1)
			pot.Deposits = pot.Deposits[:1]
			s.pots.put(1, &pot)
		},
		"a hold without work": func(s *state) {
			pot := *s.pots.must(1)
			pot.Held = 5
			s.pots.put(1, &pot)
		},
		"work without a hold": func(s *state) { s.jobs.put(1, &scheduler.Job{ID: 1, Pot: 1, Hold: 7}) },
		"a pot that is gone":  func(s *state) { s.pots.del(1) },
		"a charge out of order": func(s *state) {
			pot := *s.pots.must(1)
			pot.Deposits = append([]funding.Deposit(nil), pot.Deposits...)
			pot.Deposits[1].Charged = 1
			s.pots.put(1, &pot)
			s.balances.put(pot.Account(), s.balances.must(pot.Account())-1)
			s.balances.put(funding.Account{Kind: funding.IncomeUsage, ID: 1}, 1)
		},
		"a refund that is gone": func(s *state) { s.refunds.del(1) },
		"a refund too much":     func(s *state) { s.refunds.put(9, &funding.Refund{ID: 9, Amount: 1}) },
		"a quote that is gone":  func(s *state) { s.quotes.del(quoteID("q")) },
		"a blank that is free":  func(s *state) { s.outputs.del(cashu.Point(s.pots.must(1).Deposits[0].Blanks[0])) },
		"a blank for nobody": func(s *state) {
			s.outputs.put(cashu.Point{2, 9}, mint.Output{Job: 9, Keyset: 1, Status: mint.OutputPending})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, line := range []string{
				"init", "issue alice 1000", "pot p by=alice pay=100", "deposit p by=alice pay=50", "pot q by=alice pay=5 claim",
				"close q", "quote q amount=5 paid",
			} {
				w.play(strings.Fields(line))
			}
			if err := w.m.View().Check(); err != nil {
				t.Fatalf("before: %v", err)
			}
			s := w.m.state
			plant(s)
			for _, table := range s.tables() {
				table.merge()
			}
			w.m.view = nil
			if w.m.View().Check() == nil {
				t.Error("not found")
			}
		})
	}
}
