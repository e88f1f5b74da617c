package machine

import "github.com/coinop/coinop/funding"

// ExpireMax bounds what one entry forgets.
const ExpireMax = 10_000

// expire forgets requests that pots paid for, tokens and unpaid quotes that are past their time,
// at most so many, and says how many there were.
func (tx *Tx) expire(limit int32) int32 {
	left := min(limit, ExpireMax)
	done := left
	var requests []requestKey
	tx.requests.scan(requestKey{}, func(key requestKey, _ keptRequest) bool {
		if left == 0 || key.coins() || madeAt(key.Key) > tx.at-RequestMemory {
			return false
		}
		requests, left = append(requests, key), left-1
		return true
	})
	for _, key := range requests {
		tx.requests.del(key)
	}
	tx.tokenEnds.ascend(tokenEnd{}, func(end tokenEnd, _ none) bool {
		if left == 0 || end.at > tx.at {
			return false
		}
		tx.tokens.del(end.token)
		left--
		return true
	})
	tx.quoteEnds.ascend(quoteEnd{}, func(end quoteEnd, _ none) bool {
		if left == 0 || end.at > tx.at {
			return false
		}
		tx.quotes.del(end.quote)
		left--
		return true
	})
	return done - left
}

// ExpireDue says whether there is something to forget at a time: requests, tokens, quotes.
func (v *View) ExpireDue(at funding.Millis) bool {
	due := false
	v.requests.ascend(requestKey{}, func(key requestKey, _ keptRequest) bool {
		due = !key.coins() && madeAt(key.Key) <= at-RequestMemory
		return false
	})
	v.tokenEnds.ascend(tokenEnd{}, func(end tokenEnd, _ none) bool {
		due = due || end.at <= at
		return false
	})
	v.quoteEnds.ascend(quoteEnd{}, func(end quoteEnd, _ none) bool {
		due = due || end.at <= at
		return false
	})
	return due
}

// RefundsDue lists claimable balances whose term is over at a time, at most so many.
func (v *View) RefundsDue(at funding.Millis, limit int) []funding.RefundID {
	var due []funding.RefundID
	v.refundEnds.ascend(refundEnd{}, func(end refundEnd, _ none) bool {
		if end.at > at || len(due) == limit {
			return false
		}
		due = append(due, end.refund)
		return true
	})
	return due
}
