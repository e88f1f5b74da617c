package scheduler

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/coinop/coinop/funding"
)

// GiB is what memory and disk are weighed by.
const GiB int64 = 1 << 30

// ErrWeight says that a request weighs more than the ledger can multiply, or less than nothing.
var ErrWeight = errors.New("weight out of range")

// WeightOf is the size of a request in thousandths of a billing unit, rounded up once, so that the
// same resources weigh the same however they are written.
func WeightOf(w Weights, need Resources) (funding.Weight, error) {
	// Everything over the common denominator of a thousandth of a CPU and a byte of a GiB.
	const denominator = 1000 * uint64(GiB)
	parts := [...]struct {
		amount, weight int64
		scale          uint64
	}{
		{need.CPUMilli, w.CPU, uint64(GiB)},
		{need.Memory, w.Memory, 1000},
		{need.Disk, w.Disk, 1000},
		{need.GPUs, w.GPU, denominator},
	}
	var hi, lo uint64
	for _, p := range parts {
		if p.amount < 0 || p.weight < 0 {
			return 0, fmt.Errorf("weigh %v: negative: %w", need, ErrWeight)
		}
		over, product := bits.Mul64(uint64(p.amount), uint64(p.weight))
		if over != 0 { // more than the largest weight of any part
			return 0, fmt.Errorf("weigh %v: %w", need, ErrWeight)
		}
		partHi, partLo := bits.Mul64(product, p.scale) // below 2^104, and there are four
		var carry uint64
		lo, carry = bits.Add64(lo, partLo, 0)
		hi, _ = bits.Add64(hi, partHi, carry)
	}
	if hi >= denominator {
		return 0, fmt.Errorf("weigh %v: %w", need, ErrWeight)
	}
	q, rest := bits.Div64(hi, lo, denominator)
	if rest > 0 {
		q++
	}
	if q > uint64(funding.WeightMax) {
		return 0, fmt.Errorf("weigh %v: more than %d billing units: %w", need, funding.WeightMax/1000, ErrWeight)
	}
	return funding.Weight(q), nil
}
