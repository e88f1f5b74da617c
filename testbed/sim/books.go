package sim

import (
	"strconv"
	"strings"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
)

// books is the ledger as an accountant keeps it who sees nothing but the transfers that the machine
// tells of.
type books struct {
	balance map[funding.Account]funding.Amount
	touched []funding.Account
	seq     uint64
	chain   [32]byte
	minted  funding.Amount // by quotes that this world asked for
}

func newBooks() *books { return &books{balance: map[funding.Account]funding.Amount{}} }

// account reads an account's name.
func account(name string) (funding.Account, bool) {
	for kind := funding.AssetRail; kind <= funding.ExpenseOverrun; kind++ {
		plain := funding.Account{Kind: kind}
		if name == plain.String() {
			return plain, true
		}
		if number, ok := strings.CutPrefix(name, plain.String()+":"); ok {
			id, err := strconv.ParseUint(number, 10, 64)
			return funding.Account{Kind: kind, ID: id}, err == nil
		}
	}
	return funding.Account{}, false
}

func grows(kind funding.AccountKind) bool {
	return kind == funding.AssetRail || kind == funding.ExpenseOverrun
}

// post enters a transfer on both sides.
func (w *world) post(e machine.Event) {
	debit, ok := account(e.Debit)
	credit, known := account(e.Credit)
	if !ok || !known || e.Amount <= 0 {
		w.fail("I1", "a transfer of %d from %q to %q", e.Amount, e.Debit, e.Credit)
		return
	}
	move := func(a funding.Account, amount funding.Amount) {
		w.balance[a] += amount
		w.touched = append(w.touched, a)
	}
	if grows(debit.Kind) {
		move(debit, e.Amount)
	} else {
		move(debit, -e.Amount)
	}
	if grows(credit.Kind) {
		move(credit, -e.Amount)
	} else {
		move(credit, e.Amount)
	}
}

// checkEach holds what the last entry moved against the state: the ledger (I1, I2, I4), the pots
// whose money it was (I5, I6, I7) and the purses of everybody.
func (w *world) checkEach() {
	for _, a := range w.touched {
		switch has := w.view.Balance(a); {
		case has != w.balance[a]:
			w.fail("I1", "%v has %d, its transfers come to %d", a, has, w.balance[a])
		case has < 0:
			w.fail("I2", "%v has %d", a, has)
		case a.Kind == funding.LiabilityPot:
			w.checkPot(funding.PotID(a.ID))
		case a.Kind == funding.LiabilityCoins && has != w.out[a.ID]:
			w.fail("conservation", "coins of keyset %d: %d are outstanding, purses hold %d", a.ID, has, w.out[a.ID])
		case a.Kind == funding.AssetRail && has != w.minted:
			w.fail("I3", "the rail has %d, %d came in by quotes", has, w.minted)
		}
	}
	w.touched = w.touched[:0]
}

// checkPot holds one pot against its account and its work.
func (w *world) checkPot(id funding.PotID) {
	pot, ok := w.view.Pot(id)
	if !ok {
		return // forgotten; its account is zero, or the balance above has been found
	}
	var held funding.Amount
	of := func(id jobID) {
		job, ok := w.view.Job(id)
		if !ok {
			return
		}
		held += job.Hold
		if job.Mode != funding.Stream {
			return
		}
		w.view.RunsOf(id, func(run *runRecord) bool {
			held += run.Hold
			return true
		})
	}
	if pot.Own != 0 {
		of(jobID(pot.Own))
	} else {
		w.view.JobsOfPot(id, func(job *jobRecord) bool { of(job.ID); return true })
	}
	w.view.StreamsOf(id, func(s *funding.StreamHold) bool { held += s.Held; return true })
	if err := funding.CheckPot(*pot, w.view.Balance(pot.Account()), held); err != nil {
		w.fail("pot", "%v", err)
	} else if err := funding.CheckPolicy(*pot); err != nil {
		w.fail("pot", "%v", err)
	}
}
