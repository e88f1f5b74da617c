package linear

import (
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/coinop/coinop/api/client"
)

// history is one of operations one after the other; those of unknown outcome are never over.
func history(of ...porcupine.Operation) []porcupine.Operation {
	for i := range of {
		of[i].Call, of[i].Return = int64(2*i), int64(2*i+1)
		if of[i].Output.(Output).Unknown {
			of[i].Return = never
		}
	}
	return of
}

func did(in Input, out Output) porcupine.Operation {
	return porcupine.Operation{Input: in, Output: out}
}

// has is a look at a pot of so many deposits.
func has(state string, deposits int, deposited, held, jobs, charged, refunded int64) porcupine.Operation {
	return did(Input{Kind: Balance}, Output{Pot: client.Pot{
		State: state, Deposits: make([]client.Deposit, deposits), DepositedMicro: deposited, HeldMicro: held, Jobs: jobs,
		ChargedMicro: charged, RefundedMicro: refunded, FreeMicro: deposited - held - charged - refunded,
	}})
}

func TestPotsThatCouldBeAreFoundGood(t *testing.T) {
	lost := did(Input{Kind: Fund, Micro: 5 * unit}, Output{Unknown: true})
	for name, of := range map[string][]porcupine.Operation{
		"a life": history(
			did(Input{Kind: Fund, Micro: 10 * unit}, Output{Deposit: 1}),
			did(Input{Kind: Submit, Job: 1, Micro: 6 * unit}, Output{}),
			did(Input{Kind: Submit, Job: 2, Micro: 6 * unit}, Output{Refused: "money_short"}),
			has("open", 1, 10*unit, 6*unit, 1, 0, 0),
			did(Input{Kind: Close}, Output{}),
			did(Input{Kind: Fund, Micro: unit}, Output{Refused: "pot_closed"}),
			did(Input{Kind: Finish, Job: 1, Micro: 3*unit - 7}, Output{}),
			did(Input{Kind: Cancel, Job: 1}, Output{Refused: "job_ended"}),
			has("closed", 1, 10*unit, 0, 0, 3*unit, 7*unit),
			did(Input{Kind: Refund, Refund: 9}, Output{}),
			did(Input{Kind: Refund, Refund: 9}, Output{Refused: "refund_unknown"}),
			did(Input{Kind: Owed}, Output{Refunds: []client.Refund{{Refund: 9, AmountMicro: 7 * unit, State: "claimed"}}}),
		),
		"an unknown outcome that took effect late":  history(lost, has("open", 0, 0, 0, 0, 0, 0), has("open", 1, 5*unit, 0, 0, 0, 0)),
		"an unknown outcome that never took effect": history(lost, has("open", 0, 0, 0, 0, 0, 0)),
	} {
		if err := Check(of); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each planted fault must be found.
func TestThePotModelBites(t *testing.T) {
	paid := did(Input{Kind: Fund, Micro: 10 * unit}, Output{Deposit: 1})
	job := did(Input{Kind: Submit, Job: 1, Micro: 6 * unit}, Output{})
	end := did(Input{Kind: Finish, Job: 1, Micro: unit}, Output{})
	closed := did(Input{Kind: Close}, Output{})
	claim := did(Input{Kind: Refund, Refund: 9}, Output{})
	lost := did(Input{Kind: Fund, Micro: 5 * unit}, Output{Unknown: true})
	for name, of := range map[string][]porcupine.Operation{
		"a stale read of the pot":               history(paid, job, has("open", 1, 10*unit, 0, 0, 0, 0)),
		"a read of the pot as it never was":     history(paid, has("open", 1, 9*unit, 0, 0, 0, 0)),
		"reads that go back":                    history(lost, has("open", 1, 5*unit, 0, 0, 0, 0), has("open", 0, 0, 0, 0, 0, 0)),
		"a stale read of a job":                 history(paid, job, end, did(Input{Kind: Receipt, Job: 1}, Output{})),
		"a doubled deposit":                     history(paid, has("open", 2, 20*unit, 0, 0, 0, 0)),
		"a doubled deposit of unknown outcome":  history(lost, has("open", 2, 10*unit, 0, 0, 0, 0)),
		"a deposit that was given twice":        history(paid, did(Input{Kind: Fund, Micro: unit}, Output{Deposit: 1})),
		"a lost acknowledged submission":        history(paid, job, has("open", 1, 10*unit, 0, 0, 0, 0)),
		"a lost submission, by its receipt":     history(paid, did(Input{Kind: Receipt, Job: 1}, Output{})),
		"a submission for want of money":        history(paid, job, did(Input{Kind: Submit, Job: 2, Micro: 6 * unit}, Output{})),
		"a refusal in spite of money":           history(paid, did(Input{Kind: Submit, Job: 1, Micro: unit}, Output{Refused: "money_short"})),
		"a submission to a closed pot":          history(paid, closed, job),
		"a cancelled job that had ended":        history(paid, job, end, did(Input{Kind: Cancel, Job: 1}, Output{})),
		"a job that ended twice":                history(paid, job, end, end),
		"a charge beyond the hold":              history(paid, job, did(Input{Kind: Finish, Job: 1, Micro: 7 * unit}, Output{})),
		"a charge that the pot does not know":   history(paid, job, end, has("open", 1, 10*unit, 0, 0, 0, 0)),
		"a refund that was claimed twice":       history(paid, closed, claim, claim),
		"a refund of a pot that is open":        history(paid, claim),
		"a refund that is lost":                 history(paid, closed, did(Input{Kind: Owed}, Output{})),
		"a claimed refund that is still listed": history(paid, closed, claim, did(Input{Kind: Owed}, Output{Refunds: []client.Refund{{Refund: 9, AmountMicro: 10 * unit, State: "claimable"}}})),
		"a pot closed before its job has ended": history(paid, job, closed, has("closed", 1, 10*unit, 0, 0, 0, 10*unit)),
		"more lost to rounding than a coin":     history(paid, closed, has("closed", 1, 10*unit, 0, 0, unit, 9*unit)),
	} {
		if err := Check(of); err == nil || !strings.Contains(err.Error(), "no order") {
			t.Errorf("%s is not found: %v", name, err)
		}
	}
}
