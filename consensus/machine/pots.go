package machine

import (
	"errors"
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// RefundTerm is how long a claimable balance may be claimed: the published term.
const RefundTerm funding.Millis = 365 * 86_400_000

// openPot makes a pot, empty. A fund id names one pot only, for ever while it is in memory.
func (tx *Tx) openPot(keys funding.Keys, cap *funding.Amount) (*funding.Pot, error) {
	if keys.Fund == (funding.FundID{}) || keys.Control == (funding.KeyHash{}) {
		return nil, refuse(CodeInvalid, "a pot needs a fund id and a control key")
	}
	if cap != nil && *cap < 0 {
		return nil, refuse(CodeInvalid, "the limit on what others can add is %d", *cap)
	}
	if _, taken := tx.potFunds.get(keys.Fund); taken {
		return nil, refuse(CodeFundTaken, "there is a pot of this fund id already; draw another secret")
	}
	tx.meta.Pot++
	pot := &funding.Pot{ID: tx.meta.Pot, Keys: keys, State: funding.PotOpen, Cap: cap, Opened: tx.at}
	tx.pots.put(pot.ID, pot)
	tx.emit(Event{Kind: EventPotCreated, Pot: pot.ID})
	return pot, nil
}

// payIn spends a payment's coins into a pot, as a deposit of its own. Owner says that it came with
// the pot's creation. What names the job it is for, where there is one.
func (tx *Tx) payIn(pot *funding.Pot, payment *Payment, owner bool, what Event) (*funding.Pot, funding.Deposit, error) {
	var none funding.Deposit
	coins := payment.Coins
	if coins.Pay == 0 || coins.Pay > mint.PayMax {
		return nil, none, refuse(CodeLimit, "pay is %d; one payment brings 1 to %d", coins.Pay, mint.PayMax)
	}
	deposit, err := wayBack(payment)
	if err != nil {
		return nil, none, err
	}
	deposit.At, deposit.Owner = tx.at, owner
	after, err := pot.Deposit(deposit)
	if err != nil {
		return nil, none, refusePot(err)
	}
	deposit = after.Deposits[len(after.Deposits)-1]
	what.Pot, what.Deposit = pot.ID, deposit.ID
	if err := tx.take(coins, pot.ID, pot.Account(), what); err != nil {
		return nil, none, err
	}
	tx.pots.put(pot.ID, &after)
	what.Kind, what.Amount = EventDeposit, deposit.Amount
	tx.emit(what)
	return &after, deposit, nil
}

// wayBack makes a deposit of a payment and refuses one that has no way back, or too few blanks for
// what can come back.
func wayBack(payment *Payment) (funding.Deposit, error) {
	deposit := funding.Deposit{Amount: units(payment.Coins.Pay), Claim: payment.Claim}
	blanks := payment.Coins.Blanks
	need := mint.BlanksNeeded(payment.Coins.Pay)
	switch {
	case payment.Donate && len(blanks) > 0:
		return deposit, refuse(CodeBlanksInvalid, "a donation has no way back and takes no blanks")
	case payment.Donate:
		deposit.Way = funding.Donated
	case len(blanks) > 0 && len(blanks) < need:
		return deposit, refuse(CodeBlanksFew, "%d blanks, but what can come back of %d needs %d", len(blanks), payment.Coins.Pay, need)
	case len(blanks) > 0:
		deposit.Way = funding.ByBlanks
		deposit.Keyset = uint32(blanks[0].Keyset)
		deposit.Blanks = make([]funding.Blank, len(blanks))
		for i, blank := range blanks {
			deposit.Blanks[i] = funding.Blank(blank.B_)
		}
	case payment.Claim != (funding.KeyHash{}):
		deposit.Way = funding.ByClaim
	default:
		return deposit, refuse(CodeWayBack, "a payment needs %d blanks, a claim key, or to be a donation", need)
	}
	return deposit, nil
}

// closePot gives everything back that is left in a pot without open work, and tells how much was
// less than one coin, which is charged.
func (tx *Tx) closePot(pot *funding.Pot, what Event) (*funding.Pot, funding.Amount, error) {
	after, backs, err := pot.Close(tx.at)
	if err != nil {
		return nil, 0, fmt.Errorf("close: %w", err)
	}
	tx.pots.put(pot.ID, &after)
	what.Pot = pot.ID
	var rounding funding.Amount
	for _, back := range backs {
		what.Deposit = back.Deposit.ID
		if err := tx.giveBack(&after, back, what); err != nil {
			return nil, 0, err
		}
		rounding += back.Rounding
	}
	for _, deposit := range after.Deposits {
		tx.release(pot.ID, deposit.Blanks)
	}
	what.Deposit = 0
	what.Kind, what.Amount = EventPotClosed, 0
	tx.emit(what)
	return &after, rounding, nil
}

// giveBack is one deposit's refund: to its blanks, or, where there are none that can be used, to a
// claimable balance.
func (tx *Tx) giveBack(pot *funding.Pot, back funding.Back, what Event) error {
	if back.Rounding > 0 {
		fraction := funding.Transfer{Debit: pot.Account(), Credit: funding.Account{Kind: funding.IncomeRounding}, Amount: back.Rounding, Code: funding.CodeRounding}
		if err := tx.post(what, fraction); err != nil {
			return err
		}
	}
	if back.Amount == 0 {
		return nil
	}
	if tx.blanksUsable(back.Deposit) {
		return tx.signBack(pot, back, what)
	}
	tx.meta.Refund++
	refund := &funding.Refund{
		ID: tx.meta.Refund, Pot: pot.ID, Deposit: back.Deposit.ID, Amount: back.Amount,
		Claim: back.Claim, At: tx.at, Expires: tx.at + RefundTerm,
	}
	if refund.Claim == (funding.KeyHash{}) {
		refund.Claim = pot.Keys.Control // there is always one who may take it
	}
	tx.refunds.put(refund.ID, refund)
	balance := funding.Transfer{Debit: pot.Account(), Credit: funding.Account{Kind: funding.LiabilityRefund}, Amount: back.Amount, Code: funding.CodeRefund}
	if err := tx.post(what, balance); err != nil {
		return err
	}
	what.Kind, what.Amount, what.Refund, what.Until = EventClaimable, back.Amount, refund.ID, refund.Expires
	tx.emit(what)
	return nil
}

// blanksUsable says whether a deposit's blanks can still be signed.
func (tx *Tx) blanksUsable(deposit funding.Deposit) bool {
	if deposit.Way != funding.ByBlanks {
		return false
	}
	record, ok := tx.keysets.get(mint.KeysetNumber(deposit.Keyset))
	return ok && !record.Stopped && record.StateAt(int64(tx.at)) != mint.KeysetClosed
}

// signBack assigns a refund to the blanks of its deposit.
func (tx *Tx) signBack(pot *funding.Pot, back funding.Back, what Event) error {
	points := make([]cashu.Point, len(back.Deposit.Blanks))
	for i, blank := range back.Deposit.Blanks {
		points[i] = cashu.Point(blank)
	}
	assigned, _, err := mint.Assign(cashu.Units(back.Amount/funding.UnitMicro), points)
	if err != nil {
		return fmt.Errorf("refund of pot %d: %w", pot.ID, err)
	}
	for _, item := range assigned {
		output, err := tx.OutputAt(item.B_).AllowPending(uint64(pot.ID), item.Amount)
		if err != nil {
			return fmt.Errorf("refund of pot %d: %w", pot.ID, err)
		}
		tx.outputs.put(item.B_, output)
	}
	coins := coinsOf(mint.KeysetNumber(back.Deposit.Keyset))
	if err := tx.post(what, funding.Transfer{Debit: pot.Account(), Credit: coins, Amount: back.Amount, Code: funding.CodeRefund}); err != nil {
		return err
	}
	what.Kind, what.Amount = EventRefunded, back.Amount
	tx.emit(what)
	return nil
}

// release frees the blanks that a closed pot has not used.
func (tx *Tx) release(pot funding.PotID, blanks []funding.Blank) {
	for _, blank := range blanks {
		if output := tx.OutputAt(cashu.Point(blank)); output.Status == mint.OutputPending && output.Job == uint64(pot) {
			tx.outputs.del(cashu.Point(blank))
		}
	}
}

// forgetPot drops a closed pot from memory, if it is closed. Claimable balances that came of it stay.
func (tx *Tx) forgetPot(id funding.PotID) bool {
	pot, ok := tx.pots.get(id)
	if !ok || pot.State != funding.PotClosed {
		return false
	}
	tx.pots.del(id)
	tx.balances.del(pot.Account())
	return true
}

// refusePot gives an error of a pot its code.
func refusePot(err error) error {
	for _, known := range []struct {
		err  error
		code Code
	}{
		{funding.ErrClosed, CodePotClosed}, {funding.ErrCap, CodeCapOthers}, {funding.ErrFull, CodePotFull},
		{funding.ErrShort, CodeMoneyShort}, {funding.ErrPolicy, CodeInvalid}, {funding.ErrRange, CodeLimit},
	} {
		if errors.Is(err, known.err) {
			return refuse(known.code, "%v", err)
		}
	}
	return err
}
