package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
)

// Claim turns a claimable balance, all of it, into allowed outputs.
type Claim struct {
	Request RequestID        `cbor:"1,keyasint"`
	Refund  funding.RefundID `cbor:"2,keyasint"`
	Claim   funding.KeyHash  `cbor:"3,keyasint"` // hash of the claim key shown
	Outputs []mint.Allowed   `cbor:"4,keyasint"`
}

// ClaimAnswer says that the outputs may be signed.
type ClaimAnswer struct {
	Amount funding.Amount `cbor:"1,keyasint"`
	Index  uint64         `cbor:"2,keyasint"`
}

// Kind is part of [Command].
func (Claim) Kind() Kind { return KindClaim }

func (c Claim) apply(tx *Tx, at funding.Millis) (any, error) {
	return tx.once(c.Request, ofOutputs(uint64(c.Refund), c.Outputs), func() (any, error) {
		refund, ok := tx.refunds.get(c.Refund)
		switch {
		case !ok || refund.Paid != 0 || at >= refund.Expires:
			return nil, refuse(CodeRefundUnknown, "there is nothing to claim as refund %d: it was claimed, or its term is over", c.Refund)
		case c.Claim != refund.Claim:
			return nil, refuse(CodeKeyWrong, "this is not the claim key of refund %d", c.Refund)
		}
		what := Event{Pot: refund.Pot, Deposit: refund.Deposit, Refund: refund.ID}
		from := funding.Account{Kind: funding.LiabilityRefund}
		if err := tx.issueOutputs(c.Outputs, refund.Amount, from, funding.CodeClaim, what); err != nil {
			return nil, err
		}
		paid := *refund
		paid.Paid = at
		tx.refunds.put(paid.ID, &paid)
		what.Kind, what.Amount = EventRefunded, refund.Amount
		tx.emit(what)
		return ClaimAnswer{Amount: refund.Amount, Index: tx.index}, nil
	})
}

// lapse ends a claimable balance whose term is over; what nobody claimed is the operator's.
func (tx *Tx) lapse(id funding.RefundID) (bool, error) {
	refund, ok := tx.refunds.get(id)
	if !ok || tx.at < refund.Expires {
		return false, nil
	}
	tx.refunds.del(id)
	if refund.Paid != 0 {
		return true, nil
	}
	what := Event{Pot: refund.Pot, Deposit: refund.Deposit, Refund: refund.ID}
	return true, tx.post(what, funding.Transfer{
		Debit: funding.Account{Kind: funding.LiabilityRefund}, Credit: funding.Account{Kind: funding.IncomeRounding},
		Amount: refund.Amount, Code: funding.CodeLapse,
	})
}
