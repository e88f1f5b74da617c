//go:build e2e

package sim

import (
	"testing"

	"github.com/coinop/coinop/consensus/machine"
)

// kept counts what this world remembers, but for prices, of which there are at most a thousand.
func (w *world) kept() int {
	n := len(w.balance) + len(w.paidIn) + len(w.backTo) + len(w.promised) + len(w.jobsByID) + len(w.claims) + len(w.last) + len(w.echoes)
	for _, p := range w.purses {
		n += len(p.coins)
	}
	return n
}

// A long life needs no more memory than one of a part of its length: what it forgets is forgotten on all sides. It goes up
// and down with the keysets; what grew with each entry would be two and a half times as much in the second stretch.
func TestALongLifeForgets(t *testing.T) {
	w := newWorld(Config{Seed: 11, FullEach: 2000, Entries: 40_000, Alone: true, Keysets: keysets(t), Replica: func() Replica { return machine.New() }})
	w.found()
	most := func(from, to int) (state, own int) {
		for w.entries < to && w.failure == nil {
			w.step()
			if w.entries >= from && w.entries%100 == 0 {
				state, own = max(state, len(w.snapshot(w.view))), max(own, w.kept())
			}
		}
		if w.failure != nil {
			t.Fatal(w.failure)
		}
		return state, own
	}
	state, own := most(5_000, 15_000)
	laterState, laterOwn := most(30_000, 40_000)
	t.Logf("the state had up to %d bytes, then %d; %d things were known outside of it, then %d", state, laterState, own, laterOwn)
	if laterState > 2*state || laterOwn > 2*own {
		t.Error("it grows as it goes on")
	}
}
