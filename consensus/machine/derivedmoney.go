package machine

import (
	"cmp"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// hookMoney keeps up what is derived from pots, refunds, keysets, requests, quotes and tokens.
func (s *state) hookMoney() {
	s.pots.hook = func(id funding.PotID, old, new *funding.Pot) {
		if old != nil && (new == nil || new.Keys.Fund != old.Keys.Fund) {
			s.potFunds.del(old.Keys.Fund)
		}
		if new != nil && (old == nil || new.Keys.Fund != old.Keys.Fund) {
			s.potFunds.set(new.Keys.Fund, id)
		}
		s.followPotEnd(id, old, new)
	}
	s.refunds.hook = func(id funding.RefundID, old, new *funding.Refund) {
		if old != nil {
			s.potRefunds.del(potRefund{old.Pot, id})
			s.refundEnds.del(refundEnd{old.Expires, id})
		}
		if new != nil {
			s.potRefunds.set(potRefund{new.Pot, id}, none{})
			s.refundEnds.set(refundEnd{new.Expires, id}, none{})
		}
		if refund := cmp.Or(new, old); refund != nil {
			if pot, ok := s.pots.rows.get(refund.Pot); ok {
				s.followPotEnd(pot.ID, pot, pot)
			}
		}
	}
	s.keysets.hook = func(number mint.KeysetNumber, old, new *KeysetRecord) {
		if old != nil {
			s.keysetIDs.del(old.ID)
		}
		if new != nil {
			s.keysetIDs.set(new.ID, number)
		}
	}
	s.requests.hook = func(key requestKey, old, new keptRequest) {
		if !key.coins() {
			return
		}
		if old != "" {
			before := withCoins(old)
			s.asked.del(before.Fingerprint)
			s.countRows(before.Keyset, -1)
		}
		if new != "" {
			after := withCoins(new)
			s.asked.set(after.Fingerprint, key)
			s.countRows(after.Keyset, 1)
		}
	}
	s.spent.hook = func(_ cashu.SpentKey, old, new mint.KeysetNumber) {
		s.countRows(old, -1)
		s.countRows(new, 1)
	}
	s.outputs.hook = func(_ cashu.Point, old, new mint.Output) {
		if old.Status == mint.OutputSigned {
			s.countRows(old.Keyset, -1)
		}
		if new.Status == mint.OutputSigned {
			s.countRows(new.Keyset, 1)
		}
	}
	s.quotes.hook = s.hookQuote
	s.tokens.hook = func(hash TokenHash, old, new *TokenRecord) {
		if old != nil && old.Until != 0 {
			s.tokenEnds.del(tokenEnd{old.Until, hash})
		}
		if new != nil && new.Until != 0 {
			s.tokenEnds.set(tokenEnd{new.Until, hash}, none{})
		}
	}
}

// countRows keeps up how much there is to sweep when a keyset is closed.
func (s *state) countRows(number mint.KeysetNumber, more int64) {
	if number != 0 {
		count(s.keysetRows, number, more)
	}
}

// followPotEnd keeps up which shared pots may be forgotten one day: those that are closed and of
// which nobody has anything to claim. A job's own pot goes with the job.
func (s *state) followPotEnd(id funding.PotID, old, new *funding.Pot) {
	if old != nil && old.State == funding.PotClosed {
		s.potEnds.del(potEnd{old.Ended, id})
	}
	if new != nil && new.State == funding.PotClosed && new.Own == 0 && !s.claimable(id) {
		s.potEnds.set(potEnd{new.Ended, id}, none{})
	}
}

// claimable says whether a refund of a pot waits for somebody.
func (s *state) claimable(id funding.PotID) (waits bool) {
	s.potRefunds.ascend(potRefund{pot: id}, func(key potRefund, _ none) bool {
		if key.pot != id {
			return false
		}
		refund, ok := s.refunds.rows.get(key.refund)
		waits = ok && refund.Paid == 0
		return !waits
	})
	return waits
}

func (s *state) hookQuote(id QuoteID, old, new *Quote) {
	if old != nil {
		if old.Ext != "" {
			s.externals.del(external{old.Rail, old.Ext})
		}
		if old.State == QuoteUnpaid && old.Until != 0 {
			s.quoteEnds.del(quoteEnd{old.Until, id})
		}
	}
	if new != nil {
		if new.Ext != "" {
			s.externals.set(external{new.Rail, new.Ext}, id)
		}
		if new.State == QuoteUnpaid && new.Until != 0 {
			s.quoteEnds.set(quoteEnd{new.Until, id}, none{})
		}
	}
}
