package machine

import (
	"errors"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// KeysetByID is part of [mint.View].
func (tx *Tx) KeysetByID(id cashu.KeysetID) (mint.Keyset, bool) {
	number, ok := tx.keysetIDs.get(id)
	if !ok {
		return mint.Keyset{}, false
	}
	return tx.KeysetByNumber(number)
}

// KeysetByNumber is part of [mint.View].
func (tx *Tx) KeysetByNumber(number mint.KeysetNumber) (mint.Keyset, bool) {
	record, ok := tx.keysets.get(number)
	if !ok {
		return mint.Keyset{}, false
	}
	return record.Keyset, true
}

// IsSpent is part of [mint.View].
func (tx *Tx) IsSpent(key cashu.SpentKey) bool { return tx.spent.has(key) }

// OutputAt is part of [mint.View].
func (tx *Tx) OutputAt(point cashu.Point) mint.Output {
	output, _ := tx.outputs.get(point)
	return output
}

// take spends coins, allows outputs and registers blanks for a pot (zero: there must be none), and
// moves the money: what is not turned into other coins goes to `to`, the input fee to income.
// Nothing is left behind where it fails.
func (tx *Tx) take(coins mint.Admitted, pot funding.PotID, to funding.Account, what Event) error {
	if err := tx.checkCoins(coins); err != nil {
		return err
	}
	for _, input := range coins.Inputs {
		tx.spent.put(input.Key, input.Keyset)
	}
	if err := tx.allow(coins.Outputs); err != nil {
		return err
	}
	for _, blank := range coins.Blanks {
		output, err := tx.OutputAt(blank.B_).Register(blank.Keyset, uint64(pot))
		if err != nil {
			return refuse(CodeOutputUsed, "%v", err)
		}
		tx.outputs.put(blank.B_, output)
	}
	return tx.post(what, flows(coins, to)...)
}

// checkCoins looks again at all that the server saw when it admitted the coins, but for their
// signatures, and at what only the state knows.
func (tx *Tx) checkCoins(coins mint.Admitted) error {
	limits := mint.DefaultLimits()
	if len(coins.Inputs) > limits.Inputs || len(coins.Outputs) > limits.Outputs || len(coins.Blanks) > limits.Blanks {
		return refuse(CodeLimit, "at most %d coins, %d outputs and %d blanks in one request", limits.Inputs, limits.Outputs, limits.Blanks)
	}
	if len(coins.Inputs) == 0 {
		return refuse(CodeUnbalanced, "there is no coin in the request")
	}
	if err := coins.Recheck(tx, int64(tx.at)); err != nil {
		return refuseCoins(err)
	}
	for _, input := range coins.Inputs {
		if err := tx.checkGoing(input.Keyset); err != nil {
			return err
		}
	}
	return tx.checkOutputs(coins.Outputs, coins.Blanks)
}

// checkOutputs holds outputs against keysets and against what was used before.
func (tx *Tx) checkOutputs(lists ...[]mint.Allowed) error {
	seen := make(map[cashu.Point]struct{})
	for _, outputs := range lists {
		if len(outputs) > mint.DefaultLimits().Outputs {
			return refuse(CodeLimit, "%d outputs in one request, the limit is %d", len(outputs), mint.DefaultLimits().Outputs)
		}
		for _, output := range outputs {
			keyset, ok := tx.KeysetByNumber(output.Keyset)
			_, twice := seen[output.B_]
			switch {
			case !ok:
				return refuse(CodeKeysetUnknown, "an output is of keyset number %d, which this mint does not have", output.Keyset)
			case keyset.StateAt(int64(tx.at)) != mint.KeysetActive:
				return refuse(CodeKeysetInactive, "an output is of keyset %s, which is no longer active", keyset.ID)
			case output.Power > cashu.CoinPowerMax:
				return refuse(CodeLimit, "an output asks for more than the largest coin")
			case twice:
				return refuse(CodeOutputsTwice, "an output is in the request twice")
			case tx.OutputAt(output.B_).Status != mint.OutputFree:
				return refuse(CodeOutputUsed, "an output was used before: it is %s", tx.OutputAt(output.B_).Status)
			}
			seen[output.B_] = struct{}{}
			if err := tx.checkGoing(output.Keyset); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkGoing refuses a keyset that a restore has stopped.
func (tx *Tx) checkGoing(number mint.KeysetNumber) error {
	if record, ok := tx.keysets.get(number); ok && record.Stopped {
		return refuse(CodeKeysetStopped, "keyset %s is stopped since an older snapshot was restored; the operator must reconcile", record.ID)
	}
	return nil
}

// allow lets outputs be signed. They were checked before.
func (tx *Tx) allow(outputs []mint.Allowed) error {
	for _, item := range outputs {
		output, err := tx.OutputAt(item.B_).Allow(item.Keyset, item.Amount())
		if err != nil {
			return refuse(CodeOutputUsed, "%v", err)
		}
		tx.outputs.put(item.B_, output)
	}
	return nil
}

// refuseCoins gives a refusal of the mint its code.
func refuseCoins(err error) error {
	var wrong *cashu.Error
	if !errors.As(err, &wrong) {
		return err
	}
	code := CodeInvalid
	switch wrong.Code {
	case cashu.CodeSpent:
		code = CodeCoinsSpent
	case cashu.CodeInputsTwice:
		code = CodeCoinsTwice
	case cashu.CodeOutputsSigned, cashu.CodeOutputsPending:
		code = CodeOutputUsed
	case cashu.CodeOutputsTwice:
		code = CodeOutputsTwice
	case cashu.CodeUnbalanced:
		code = CodeUnbalanced
	case cashu.CodeAmountRange:
		code = CodeLimit
	case cashu.CodeKeysetUnknown:
		code = CodeKeysetUnknown
	case cashu.CodeKeysetInactive, cashu.CodeKeysetExpired:
		code = CodeKeysetInactive
	case cashu.CodeBlanksTooFew:
		code = CodeBlanksFew
	case cashu.CodeBlanksInvalid:
		code = CodeBlanksInvalid
	}
	return refuse(code, "%s", wrong.Detail)
}

// flows are the transfers of a payment or a swap. What comes in and goes out of one keyset cancels
// out; what is over on one side goes to the accounts that lack it, in a fixed order.
func flows(coins mint.Admitted, to funding.Account) []funding.Transfer {
	type sum struct {
		account funding.Account
		amount  funding.Amount
		code    funding.Code
	}
	var sums []sum // positive: to give; negative: to get
	add := func(a funding.Account, amount funding.Amount, code funding.Code) {
		for i := range sums {
			if sums[i].account == a {
				sums[i].amount += amount
				return
			}
		}
		sums = append(sums, sum{a, amount, code})
	}
	if coins.Pay > 0 {
		add(to, -units(coins.Pay), funding.CodePay)
	}
	add(funding.Account{Kind: funding.IncomeFees}, -units(coins.Fee), funding.CodeInputFee)
	for _, output := range coins.Outputs {
		add(coinsOf(output.Keyset), -units(output.Amount()), funding.CodeSwap)
	}
	for _, input := range coins.Inputs {
		add(coinsOf(input.Keyset), units(input.Amount()), funding.CodeSwap)
	}
	var transfers []funding.Transfer
	for i := range sums {
		for j := range sums {
			from, into := &sums[j], &sums[i]
			if amount := min(from.amount, -into.amount); amount > 0 {
				transfers = append(transfers, funding.Transfer{Debit: from.account, Credit: into.account, Amount: amount, Code: into.code})
				from.amount, into.amount = from.amount-amount, into.amount+amount
			}
		}
	}
	return transfers
}

// units are whole units as micro-units. Callers have bounded them: a request's coins are worth less than 2^40.
func units(u cashu.Units) funding.Amount { return funding.Amount(u) * funding.UnitMicro }

// coinsOf is the account of a keyset's coins outstanding.
func coinsOf(number mint.KeysetNumber) funding.Account {
	return funding.Account{Kind: funding.LiabilityCoins, ID: uint64(number)}
}
