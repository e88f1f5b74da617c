// Package sim lives a cluster's life over the real machine, from a seed.
package sim

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Replica is what the simulator drives: [machine.Machine], or one with a fault planted in it.
type Replica interface {
	Apply(index uint64, entry []byte) machine.Result
	View() *machine.View
}

// Config says which life to live.
type Config struct {
	Seed     uint64
	Entries  int
	FullEach int                  // entries between two looks at the whole state; zero: 250
	Keysets  []machine.KeysetSpec // of [Keysets]; shared, since making them is slow
	Replica  func() Replica       // nil: the machine as it is
	Alone    bool                 // no second machine goes on from a snapshot, and the log is not played again
}

// Report is what one life came to.
type Report struct {
	Entries, Jobs, Runs, Refused int
	Settled                      int // settlements on the way
	Days                         int
	Codes                        map[machine.Code]int
	Seen                         map[machine.EventKind]int
}

// Failure is an invariant that did not hold.
type Failure struct {
	Seed      uint64
	Entry     int
	Invariant string
	Found     string
	Last      []string // the last entries, in words
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d, entry %d: %s: %s\n  the last entries:\n    %s\n  again: go run ./testbed/sim/cmd -seed %d -entries %d",
		f.Seed, f.Entry, f.Invariant, f.Found, strings.Join(f.Last, "\n    "), f.Seed, f.Entry)
}

// dayOne is when all lives begin.
const dayOne funding.Millis = 1_800_000_000_000

// Run lives one life and gives the first thing that is wrong with it, as a [Failure].
func Run(ctx context.Context, c Config) (Report, error) {
	if c.FullEach == 0 {
		c.FullEach = 250
	}
	if c.Replica == nil {
		c.Replica = func() Replica { return machine.New() }
	}
	if len(c.Keysets) == 0 {
		return Report{}, fmt.Errorf("live seed %d: no keysets", c.Seed)
	}
	w := newWorld(c)
	w.found()
	for len(w.log) < c.Entries && w.failure == nil && ctx.Err() == nil {
		w.step()
	}
	if ctx.Err() != nil {
		return w.told(), fmt.Errorf("live seed %d: %w", c.Seed, ctx.Err())
	}
	w.lookAtAll()
	w.playAgain()
	if w.failure != nil {
		return w.told(), w.failure
	}
	return w.told(), nil
}

func newWorld(c Config) *world {
	w := &world{
		Config: c, dice: rand.New(rand.NewPCG(c.Seed, 0x5eed)), m: c.Replica(), now: dayOne,
		books: newBooks(), jobsByID: map[jobID]*job{}, runsByID: map[runID]*run{}, promised: map[depositKey]*promise{},
		paidIn: map[depositKey]funding.Amount{}, backTo: map[depositKey]funding.Amount{}, out: map[uint64]funding.Amount{},
		prices: map[scheduler.PoolID]*prices{},
		report: Report{Codes: map[machine.Code]int{}, Seen: map[machine.EventKind]int{}},
	}
	w.view = w.m.View()
	w.checked = w.view
	return w
}

func (w *world) told() Report {
	w.report.Entries, w.report.Days = len(w.log), int((w.now-dayOne)/day)
	return w.report
}

// playAgain holds the log's second life against the first: the same results, the same bytes (I12).
func (w *world) playAgain() {
	if w.failure != nil || w.Alone {
		return
	}
	again := machine.New()
	for i, e := range w.log {
		if r := again.Apply(e.index, e.bytes); r.Sum != w.log[i].sum {
			w.fail("I12", "entry %d has another result when the log is played again", i+1)
			return
		}
	}
	if first, second := w.snapshot(w.view), w.snapshot(again.View()); !bytes.Equal(first, second) {
		w.fail("I12", "the log played again gives another snapshot")
	}
}

func (w *world) snapshot(v *machine.View) []byte {
	var out bytes.Buffer
	if err := machine.Snapshot(v, &out); err != nil {
		w.fail("I12", "%v", err)
	}
	return out.Bytes()
}
