package machine

import (
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// Check holds the whole state against itself: the ledger's sums, every pot against its account and
// its work, balances due against their records, blanks against the deposits that registered them.
// It looks at everything and is for tests, the simulator and an operator's doubt.
func (v *View) Check() error {
	var accounts []funding.Change
	v.Balances(func(a funding.Account, amount funding.Amount) bool {
		accounts = append(accounts, funding.Change{Account: a, Balance: amount})
		return true
	})
	if err := funding.CheckBalances(accounts); err != nil {
		return err
	}
	if err := v.checkPots(accounts); err != nil {
		return err
	}
	if err := v.checkDue(); err != nil {
		return err
	}
	return v.checkBlanks()
}

func (v *View) checkPots(accounts []funding.Change) error {
	held := make(map[funding.PotID]funding.Amount)
	v.jobs.ascend(0, func(_ scheduler.JobID, job *scheduler.Job) bool {
		held[job.Pot] += job.Hold
		return true
	})
	v.streams.ascend(StreamID{}, func(id StreamID, s *funding.StreamHold) bool {
		held[id.Pot] += s.Held
		return true
	})
	v.runs.ascend(0, func(_ scheduler.RunID, run *scheduler.Run) bool {
		if job, ok := v.jobs.get(run.Job); ok && job.Mode == funding.Stream {
			held[job.Pot] += run.Hold // placed and not started: no longer the job's, not yet the stream's
		}
		return true
	})
	var wrong error
	v.pots.ascend(0, func(id funding.PotID, pot *funding.Pot) bool {
		if wrong = funding.CheckPot(*pot, v.Balance(pot.Account()), held[id]); wrong == nil {
			wrong = funding.CheckPolicy(*pot)
		}
		return wrong == nil
	})
	for _, account := range accounts {
		if account.Account.Kind != funding.LiabilityPot || account.Balance == 0 || wrong != nil {
			continue
		}
		if _, ok := v.pots.get(funding.PotID(account.Account.ID)); !ok {
			wrong = fmt.Errorf("%v has %d and there is no such pot", account.Account, account.Balance)
		}
	}
	return wrong
}

// checkDue holds what is owed without a pot against its records: claimable balances and paid quotes.
func (v *View) checkDue() error {
	var refunds, quoted funding.Amount
	v.refunds.ascend(0, func(_ funding.RefundID, refund *funding.Refund) bool {
		if refund.Paid == 0 {
			refunds += refund.Amount
		}
		return true
	})
	if due := v.Balance(funding.Account{Kind: funding.LiabilityRefund}); due != refunds {
		return fmt.Errorf("claimable balances are %d, their account has %d", refunds, due)
	}
	v.quotes.ascend(QuoteID{}, func(_ QuoteID, quote *Quote) bool {
		if quote.State == QuotePaid {
			quoted += units(quote.Amount)
		}
		return true
	})
	if v.meta.Quoted != quoted {
		return fmt.Errorf("paid quotes are %d, the state says %d", quoted, v.meta.Quoted)
	}
	return nil
}

// checkBlanks finds blanks that wait for a pot that does not, and the other way round.
func (v *View) checkBlanks() error {
	waiting := 0
	var wrong error
	v.pots.ascend(0, func(id funding.PotID, pot *funding.Pot) bool {
		if pot.State == funding.PotClosed {
			return true
		}
		for _, deposit := range pot.Deposits {
			for _, blank := range deposit.Blanks {
				waiting++
				if output := v.OutputAt(cashu.Point(blank)); output.Status != mint.OutputPending || output.Job != uint64(id) {
					wrong = fmt.Errorf("a blank of pot %d is %s for %d", id, output.Status, output.Job)
				}
			}
		}
		return wrong == nil
	})
	pending := 0
	v.outputs.ascend(cashu.Point{}, func(_ cashu.Point, output mint.Output) bool {
		if output.Status == mint.OutputPending {
			pending++
		}
		return true
	})
	if wrong == nil && pending != waiting {
		wrong = fmt.Errorf("%d outputs are pending, pots wait for %d", pending, waiting)
	}
	return wrong
}
