package funding

import (
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSplit(t *testing.T) {
	parts := []Part{PartOf("CPU", 1000, 1000, 1<<30), PartOf("memory", 1<<30, 250, 1000)}
	if got := Split(7_604_702, parts); !slices.Equal(got, []Line{{"CPU", 6_083_761}, {"memory", 1_520_941}}) {
		t.Errorf("%v", got)
	}
	if got := Split(5, nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
	if got := Split(5, []Part{{"nothing", new(big.Int)}}); got != nil {
		t.Errorf("of parts without a size: %v", got)
	}
}

// Whatever the parts, the lines are the total, and none is more than a micro-unit a part from its exact share.
func TestSplitIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := Amount(rapid.Int64Range(0, int64(PotMax)).Draw(t, "total"))
		whole := new(big.Int)
		var parts []Part
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			p := PartOf("part", rapid.Int64Min(0).Draw(t, "amount"), rapid.Int64Range(1, 1e9).Draw(t, "weight"), rapid.Int64Range(1, 1<<40).Draw(t, "scale"))
			parts = append(parts, p)
			whole.Add(whole, p.Size)
		}
		if whole.Sign() == 0 {
			return
		}
		var sum Amount
		for i, line := range Split(total, parts) {
			sum += line.Amount
			exact := new(big.Int).Mul(big.NewInt(int64(total)), parts[i].Size)
			exact.Quo(exact, whole)
			if off := int64(line.Amount) - exact.Int64(); off < 0 || off > int64(len(parts)) || off > 0 && i < len(parts)-1 {
				t.Fatalf("part %d has %d, its share is %d", i, line.Amount, exact)
			}
		}
		if sum != total {
			t.Fatalf("the lines are %d of %d", sum, total)
		}
	})
}
