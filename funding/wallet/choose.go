package wallet

import (
	"sort"

	"github.com/coinop/coinop/funding/cashu"
)

// inputsMax is how many coins one request may carry; mints allow at least this.
const inputsMax = 200

// candidate is a coin that could be spent.
type candidate struct {
	secret string
	keyset cashu.KeysetID
	amount cashu.Units
	fee    uint64 // in thousandths
	old    bool   // of a keyset that is no longer active: to be spent first
}

// choose picks coins for an amount and the fee of the coins picked. It takes few
// coins, and first those that will lose their worth. ok is false where there
// are too few, or too many are needed.
func choose(coins []candidate, pay cashu.Units) (chosen []candidate, fee cashu.Units, ok bool) {
	if pay == 0 {
		return nil, 0, true
	}
	sort.SliceStable(coins, func(i, j int) bool {
		if coins[i].old != coins[j].old {
			return coins[i].old
		}
		return coins[i].amount > coins[j].amount
	})
	if chosen, fee, ok = cover(coins, pay); ok {
		return chosen, fee, true
	}
	// Many small old coins may not fit one request: then the largest go first.
	sort.SliceStable(coins, func(i, j int) bool { return coins[i].amount > coins[j].amount })
	return cover(coins, pay)
}

func cover(coins []candidate, pay cashu.Units) (chosen []candidate, fee cashu.Units, ok bool) {
	// More coins cost more fee, which may need more coins; the target only grows.
	for target := pay; ; {
		chosen, sum, found := pick(coins, target)
		if !found {
			return nil, 0, false
		}
		fee = feeOf(chosen)
		if sum >= pay+fee {
			return chosen, fee, len(chosen) <= inputsMax
		}
		target = pay + fee
	}
}

// pick takes the coins in order as long as they fit, and closes the gap with
// the smallest coin that covers it.
func pick(coins []candidate, target cashu.Units) (picked []candidate, sum cashu.Units, ok bool) {
	taken := make([]bool, len(coins))
	for i, coin := range coins {
		if coin.amount <= target-sum {
			taken[i] = true
			sum += coin.amount
		}
		if sum == target {
			break
		}
	}
	if sum < target {
		best := -1
		for i, coin := range coins {
			if !taken[i] && coin.amount >= target-sum && (best < 0 || coin.amount < coins[best].amount) {
				best = i
			}
		}
		if best < 0 {
			return nil, 0, false
		}
		taken[best] = true
		sum += coins[best].amount
	}
	// The coin that closed the gap may have made smaller ones needless.
	for i := len(coins) - 1; i >= 0; i-- {
		if taken[i] && !coins[i].old && sum-coins[i].amount >= target {
			taken[i] = false
			sum -= coins[i].amount
		}
	}
	for i, coin := range coins {
		if taken[i] {
			picked = append(picked, coin)
		}
	}
	return picked, sum, true
}

func feeOf(coins []candidate) cashu.Units {
	var thousandths uint64
	for _, coin := range coins {
		thousandths += coin.fee
	}
	return cashu.Units((thousandths + 999) / 1000)
}

// Coins are split further than need be, so that several payments find a coin
// each and small ones need no change: kindWanted of each kind, as far as the
// number of outputs allows.
const (
	kindWanted    = 4
	spreadIssue   = 48 // outputs for coins that come in
	spreadPayment = 12 // outputs for a payment's change, which the mint signs while it waits
)

// spread splits an amount, dividing the largest coins while there are fewer
// than wanted of the next smaller kind, up to a number of outputs.
func spread(amount cashu.Units, have map[cashu.Units]int, limit int) []cashu.Units {
	coins := cashu.Split(amount)
	count := make(map[cashu.Units]int, len(have))
	for coin, n := range have {
		count[coin] = n
	}
	for _, coin := range coins {
		count[coin]++
	}
	for len(coins) < limit {
		divided := false
		for i := len(coins) - 1; i >= 0; i-- {
			half := coins[i] / 2
			if half == 0 || count[half] >= kindWanted || count[coins[i]] < 2 && count[half] > 1 {
				continue
			}
			count[coins[i]]--
			count[half] += 2
			coins[i] = half
			coins = append(coins, half)
			divided = true
			break
		}
		if !divided {
			break
		}
		sort.Slice(coins, func(i, j int) bool { return coins[i] < coins[j] })
	}
	return coins
}
