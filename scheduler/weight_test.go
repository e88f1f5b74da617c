package scheduler

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/coinop/coinop/funding"
)

func TestDevsPoolWeighsACPUAndAQuarterForAGiB(t *testing.T) {
	dev := Weights{CPU: 1000, Memory: 250}
	for _, c := range []struct {
		need Resources
		want funding.Weight
	}{
		{Resources{CPUMilli: 1000, Memory: GiB}, 1250},
		{Resources{CPUMilli: 2000, Memory: 2 * GiB}, 2500}, // the job file of the README: 2.5 units
		{Resources{CPUMilli: 1000, Memory: 1}, 1001},       // rounded up
		{Resources{CPUMilli: 1, Memory: 0}, 1},
		{Resources{}, 0},
		{Resources{Disk: 100 * GiB, GPUs: 3}, 0}, // not billed there
	} {
		if got, err := WeightOf(dev, c.need); err != nil || got != c.want {
			t.Errorf("%+v weighs %d, %v; want %d", c.need, got, err, c.want)
		}
	}
}

func TestWhatCannotBeWeighedIsRefused(t *testing.T) {
	for _, c := range []struct {
		w    Weights
		need Resources
	}{
		{Weights{CPU: 1000}, Resources{CPUMilli: -1}},
		{Weights{CPU: -1}, Resources{CPUMilli: 1}},
		{Weights{CPU: 1000}, Resources{CPUMilli: int64(funding.WeightMax) + 1}},
		{Weights{CPU: math.MaxInt64}, Resources{CPUMilli: math.MaxInt64}},
		{Weights{GPU: math.MaxInt64}, Resources{GPUs: math.MaxInt64}},
		{Weights{GPU: math.MaxInt64}, Resources{GPUs: 1}},
	} {
		if got, err := WeightOf(c.w, c.need); !errors.Is(err, ErrWeight) || got != 0 {
			t.Errorf("%+v: %d, %v", c, got, err)
		}
	}
	if got, err := WeightOf(Weights{CPU: 1000}, Resources{CPUMilli: int64(funding.WeightMax)}); err != nil || got != funding.WeightMax {
		t.Error("the largest weight is refused: ", err)
	}
}

// TestWeightsAreExact: against integers without end.
func TestWeightsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num := func(what string) int64 {
			return rapid.OneOf(rapid.Int64Range(0, 4000), rapid.Int64Range(0, math.MaxInt64)).Draw(t, what)
		}
		w := Weights{CPU: num("w"), Memory: num("w"), Disk: num("w"), GPU: num("w")}
		need := Resources{num("cpu"), num("memory"), num("disk"), num("gpus")}
		sum := new(big.Int)
		add := func(a, b, scale int64) {
			p := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
			sum.Add(sum, p.Mul(p, big.NewInt(scale)))
		}
		add(need.CPUMilli, w.CPU, GiB)
		add(need.Memory, w.Memory, 1000)
		add(need.Disk, w.Disk, 1000)
		add(need.GPUs, w.GPU, 1000*GiB)
		d := big.NewInt(1000 * GiB)
		want := sum.Add(sum, new(big.Int).Sub(d, big.NewInt(1))).Div(sum, d)
		got, err := WeightOf(w, need)
		fits := want.Cmp(big.NewInt(int64(funding.WeightMax))) <= 0
		if fits != (err == nil) || fits && want.Int64() != int64(got) {
			t.Fatalf("%d, %v; want %s", got, err, want)
		}
	})
}
