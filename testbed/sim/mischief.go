package sim

import (
	"fmt"
	"math"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// mischief sends what must be refused and change nothing.
func (w *world) mischief() {
	tricks := []func(){w.badCoins, w.badCoins, w.badBlanks, w.badAmounts, w.wrongKeys, w.garbage, w.badReports, w.badDecisions, w.badDecisions}
	tricks[w.dice.IntN(len(tricks))]()
}

// tricked takes coins for a payment; they go back into the purse whatever happens.
func (w *world) tricked(pay cashu.Units, do func(p *machine.Payment)) {
	p := w.purses[w.dice.IntN(len(w.purses))]
	payment, ok := w.payment(p, pay)
	if !ok {
		return
	}
	honest := payment.Coins.Inputs
	payment.Coins.Inputs = append([]mint.Input(nil), honest...)
	do(payment)
	p.coins = append(p.coins, honest...)
}

// spend tries a payment in one of the entries that take one.
func (w *world) spend(payment *machine.Payment, codes ...machine.Code) {
	name := fmt.Sprintf("mischief %x", w.secret())
	keys := keysOf(name, funding.KeyHash{})
	switch shared, ok := one(w, w.pots); {
	case w.chance(30) && ok && !shared.closed:
		w.refused(machine.Deposit{Request: w.request(false), Fund: keyOf("fund", shared.name), Payment: *payment}, append(codes, machine.CodePotUnknown)...)
	case w.chance(50):
		w.refused(machine.PotCreate{Request: w.request(false), Keys: keys, Payment: payment}, codes...)
	default:
		w.refused(machine.Submit{
			Request: w.request(false), Keys: keys, Payment: payment, Pool: 1, Driver: "process", Mode: funding.Safe, TimeLimit: second,
			Need: scheduler.Resources{CPUMilli: 100}, Bid: funding.RateMax / 1000, Work: []byte{0xa0},
		}, append(codes, machine.CodeMoneyShort)...)
	}
}

// strangeKeyset is one that no life ever comes to.
const strangeKeyset = machine.KeysetsMax + 1

// badCoins are spent, doubled, of another mint, or more than there are.
func (w *world) badCoins() {
	w.tricked(between[cashu.Units](w, 1, 2000), func(p *machine.Payment) {
		inputs := p.Coins.Inputs
		switch w.dice.IntN(5) {
		case 0:
			coin, ok := one(w, w.used)
			value, _ := w.worth(coin)
			if !ok || value == 0 || coin.Keyset != inputs[0].Keyset {
				return
			}
			coin.Power = inputs[0].Power
			inputs[0] = coin
			w.spend(p, machine.CodeCoinsSpent)
		case 1:
			p.Coins.Inputs = append(inputs, inputs[0])
			p.Coins.Outputs = append(p.Coins.Outputs, w.outputs(inputs[0].Amount())...)
			w.spend(p, machine.CodeCoinsTwice, machine.CodeUnbalanced)
		case 2:
			inputs[0].Keyset = strangeKeyset
			w.spend(p, machine.CodeKeysetUnknown)
		case 3:
			p.Coins.Outputs = append(p.Coins.Outputs, w.outputs(1)...)
			w.spend(p, machine.CodeUnbalanced)
		case 4: // forged with a stolen key: worth more than was ever issued
			forged := mint.Input{Key: w.secret(), Keyset: w.active(), Power: cashu.CoinPowerMax}
			_, fee := w.worth(forged)
			pay := forged.Amount() - mint.Fee([]uint32{fee})
			w.spend(&machine.Payment{Coins: mint.Admitted{Inputs: []mint.Input{forged}, Pay: pay, Fee: forged.Amount() - pay}, Donate: true}, machine.CodeOverdrawn)
		}
	})
}

// badBlanks are too few, used, twice there, or missing.
func (w *world) badBlanks() {
	pay := between[cashu.Units](w, 2, 2000)
	w.tricked(pay, func(p *machine.Payment) {
		p.Donate, p.Coins.NeedBlanks = false, 0
		blank := func() mint.Allowed { return mint.Allowed{B_: w.point(), Keyset: w.active()} }
		p.Coins.Blanks = nil
		for range mint.BlanksNeeded(pay) {
			p.Coins.Blanks = append(p.Coins.Blanks, blank())
		}
		switch w.dice.IntN(5) {
		case 0:
			p.Coins.Blanks = p.Coins.Blanks[1:]
			w.spend(p, machine.CodeBlanksFew, machine.CodeWayBack)
		case 1:
			p.Coins.Blanks = nil
			p.Claim = funding.KeyHash{}
			w.spend(p, machine.CodeWayBack)
		case 2:
			p.Coins.Blanks[1].B_ = p.Coins.Blanks[0].B_
			w.spend(p, machine.CodeOutputsTwice)
		case 3:
			shared, ok := one(w, w.jobs)
			if !ok {
				return
			}
			waiting := w.promised[depositKey{shared.pot, 1}]
			if waiting == nil {
				return
			}
			p.Coins.Blanks[0].B_ = waiting.blanks[0].B_
			w.spend(p, machine.CodeOutputUsed)
		case 4:
			p.Coins.Blanks[0].Keyset = strangeKeyset
			w.spend(p, machine.CodeBlanksInvalid, machine.CodeKeysetInactive, machine.CodeKeysetUnknown)
		}
	})
}

// badAmounts are zero, negative, or too large to be counted.
func (w *world) badAmounts() {
	pools := w.view.Pools()
	pool := pools[w.dice.IntN(len(pools))]
	w.tricked(between[cashu.Units](w, 1, 500), func(p *machine.Payment) {
		entry := machine.Submit{
			Request: w.request(false), Keys: keysOf(fmt.Sprintf("bad %x", w.secret()), funding.KeyHash{}), Payment: p, Pool: pool.ID,
			Driver: "process", Mode: funding.Safe, TimeLimit: second, Need: scheduler.Resources{CPUMilli: 100},
			Bid: pool.Floor + 1, Work: []byte{0xa0},
		}
		codes := []machine.Code{machine.CodeLimit, machine.CodeInvalid, machine.CodeMoneyShort, machine.CodePoolFloor}
		switch w.dice.IntN(11) {
		case 0:
			p.Coins.Pay = 0
			codes = append(codes, machine.CodeUnbalanced)
		case 1:
			p.Coins.Pay = math.MaxUint64
		case 2:
			entry.Bid = -1
		case 3:
			entry.Bid = math.MaxInt64
		case 4:
			entry.Need.CPUMilli = math.MaxInt64
		case 5:
			entry.Need.Memory = -1
		case 6:
			entry.TimeLimit = funding.Millis(between[int64](w, -1, 999))
		case 7:
			entry.Tasks = scheduler.TaskRange{First: 0, Last: math.MaxInt32}
		case 8:
			entry.MaxTotal = -1
		case 9:
			if entry.Bid = pool.Floor - 1; pool.Floor == 0 {
				return
			}
		case 10:
			entry.Bid, entry.TimeLimit, entry.Need.CPUMilli = funding.RateMax, pool.TimeMax, scheduler.CPUMilliMax
		}
		w.refused(entry, codes...)
	})
}

// wrongKeys try what belongs to others.
func (w *world) wrongKeys() {
	stranger := keyOf("control", "stranger")
	if j, ok := one(w, w.jobs); ok {
		switch w.dice.IntN(4) {
		case 0:
			w.refused(machine.Cancel{Job: j.id, Control: stranger}, machine.CodeKeyWrong)
		case 1:
			w.refused(machine.OnHold{Job: j.id, On: true}, machine.CodeKeyWrong)
		case 2:
			w.refused(machine.JobCap{Job: j.id, Control: stranger}, machine.CodeKeyWrong)
		case 3:
			w.refused(machine.Cancel{Job: j.id, Token: keyOf("token", "guess")}, machine.CodeTokenUnknown)
		}
	}
	if shared, ok := one(w, w.pots); ok && w.chance(50) {
		w.refused(machine.PotClose{Pot: shared.id, Control: stranger}, machine.CodeKeyWrong, machine.CodePotUnknown)
	}
	if c, ok := one(w, w.claims); ok && w.chance(50) {
		w.refused(machine.Claim{Request: w.request(false), Refund: c.id, Claim: stranger, Outputs: w.outputs(1)}, machine.CodeKeyWrong)
	}
}

// garbage is bytes that are no entry.
func (w *world) garbage() {
	w.refused(noEntry(w.dice.IntN(250)), machine.CodeFormat)
}

// noEntry is a command of a kind that does not exist.
type noEntry uint16

// Kind is part of [machine.Command].
func (n noEntry) Kind() machine.Kind { return machine.Kind(100 + n) }
