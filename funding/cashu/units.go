package cashu

import (
	"fmt"
	"math/bits"
)

// Units counts whole units of account. A coin is a power of two of them.
type Units uint64

const (
	// CoinPowerMax is the largest power of two a coin of ours is worth.
	CoinPowerMax = 31
	// CoinMax is the worth of the largest coin.
	CoinMax Units = 1 << CoinPowerMax
	// CoinKinds is how many different coins there are.
	CoinKinds = CoinPowerMax + 1
)

// IsCoin reports whether one coin of ours can be worth this much.
func (u Units) IsCoin() bool {
	return u != 0 && u&(u-1) == 0 && u <= CoinMax
}

// Power is the exponent of a coin's worth, and false where no coin is worth it.
func (u Units) Power() (uint8, bool) {
	if !u.IsCoin() {
		return 0, false
	}
	return uint8(bits.TrailingZeros64(uint64(u))), true
}

// Split writes an amount as coins, the smallest first, as few as possible.
// What is above the largest coin is several of that.
func Split(amount Units) []Units {
	coins := make([]Units, 0, SplitCount(amount))
	for power := 0; power < CoinPowerMax; power++ {
		if coin := Units(1) << power; amount&coin != 0 {
			coins = append(coins, coin)
		}
	}
	for left := amount >> CoinPowerMax; left > 0; left-- {
		coins = append(coins, CoinMax)
	}
	return coins
}

// SplitCount is the number of coins that Split makes, without making them.
func SplitCount(amount Units) int {
	return bits.OnesCount64(uint64(amount&(CoinMax-1))) + int(amount>>CoinPowerMax)
}

// BlanksMax is the largest number of blanks one payment ever needs: what can
// come back is at most nine thousand million units.
const BlanksMax = 34

// BlanksFor is how many blanks hold whatever comes back of an amount: its bit
// length, and from 2^32 up, where the largest coin is needed several times, 34.
func BlanksFor(amount Units) int {
	if amount >= 1<<32 {
		return BlanksMax
	}
	return bits.Len64(uint64(amount))
}

// Sum adds amounts and refuses a total that does not fit.
func Sum[T any](items []T, worth func(T) Units) (Units, error) {
	var total Units
	for _, item := range items {
		next := total + worth(item)
		if next < total {
			return 0, fmt.Errorf("add up %d amounts: the total does not fit 64 bits", len(items))
		}
		total = next
	}
	return total, nil
}

// SumProofs is what coins are worth together.
func SumProofs(proofs []Proof) (Units, error) {
	return Sum(proofs, func(p Proof) Units { return p.Amount })
}

// SumOutputs is what blinded outputs ask for together.
func SumOutputs(outputs []BlindedMessage) (Units, error) {
	return Sum(outputs, func(m BlindedMessage) Units { return m.Amount })
}

// SumSignatures is what blind signatures are worth together.
func SumSignatures(signatures []BlindSignature) (Units, error) {
	return Sum(signatures, func(s BlindSignature) Units { return s.Amount })
}
