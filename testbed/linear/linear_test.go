package linear

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// seeds are those that COINOP_LINEAR_SEED and COINOP_LINEAR_SEEDS name: that one, or as many from 1 on.
func seeds(t *testing.T) (list []uint64) {
	t.Helper()
	number := func(name string, other uint64) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return other
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s is a number: %v", name, err)
		}
		return n
	}
	if one := number("COINOP_LINEAR_SEED", 0); one != 0 {
		return []uint64{one}
	}
	for seed := range number("COINOP_LINEAR_SEEDS", 2) {
		list = append(list, seed+1)
	}
	return list
}

func TestClientsSeeOnePotWhateverBreaks(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			history, faults := Record(t, seed, Size{Pots: 3, Clients: 6, Each: 40})
			count := map[string]int{}
			for _, op := range history {
				in, out := op.Input.(Input), op.Output.(Output)
				count[string(in.Kind)]++
				if out.Unknown {
					count["unknown"]++
				}
			}
			t.Logf("seed %d: %d operations %v, faults:\n  %s", seed, len(history), count, strings.Join(faults, "\n  "))
			if len(faults) == 0 || count["submit"] == 0 || count["fund"] == 0 || count["finish"] == 0 || count["refund"] == 0 {
				t.Error("such a history shows nothing")
			}
			if err := Check(history); err != nil {
				t.Errorf("seed %d: %v\n  again: COINOP_LINEAR_SEED=%d go test -run %s ./testbed/linear", seed, err, seed, "TestClientsSeeOnePotWhateverBreaks")
			}
		})
	}
}
