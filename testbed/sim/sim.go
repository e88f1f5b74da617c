// Package sim lives a cluster's life over the real machine, from a seed.
package sim

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"

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
	FullEach int                  // entries between two looks at the whole state, at first; zero: 250
	Keysets  []machine.KeysetSpec // of [Keysets]; shared, since making them is slow
	Replica  func() Replica       // nil: the machine as it is
	Alone    bool                 // no second machine applies the same log, and none goes on from a snapshot
	Calm     bool                 // nothing troubles this life beyond the usual
	Progress *atomic.Int64        // counts entries for who watches; nil: nobody does
}

// Report is what one life came to.
type Report struct {
	Entries, Jobs, Runs, Refused int
	Settled                      int // settlements on the way
	NoRoom                       int // runs whose machine had no GPU for them after all
	GPUs                         int // runs that had some
	Suspended                    int // runs that came to their machine's disk
	Woken                        int // of them went on
	Again                        int // runs that were suspended once more after that
	Moved                        int // suspended runs that went on elsewhere
	Days                         int
	Troubles                     []string // of this life
	Most                         int      // bytes of its largest snapshot
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
	return fmt.Sprintf("seed %d, entry %d: %s: %s\n  the last entries:\n    %s\n  again: %s",
		f.Seed, f.Entry, f.Invariant, f.Found, strings.Join(f.Last, "\n    "), f.Again())
}

// Again is the command that lives this life once more, up to the entry after the one at which it failed: some is only seen
// when time has passed.
func (f *Failure) Again() string {
	return fmt.Sprintf("go run ./testbed/sim/cmd -seed %d -entries %d", f.Seed, f.Entry+1)
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
	for w.entries < c.Entries && w.failure == nil && ctx.Err() == nil {
		w.step()
	}
	if ctx.Err() != nil && w.failure == nil {
		return w.told(), fmt.Errorf("live seed %d: %w", c.Seed, ctx.Err())
	}
	w.lookAtAll()
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
	w.checked, w.look = w.view, c.FullEach
	if !c.Alone {
		w.second = machine.New()
	}
	if !c.Calm {
		w.troubles = troublesOf(c.Seed)
	}
	return w
}

func (w *world) told() Report {
	w.report.Entries, w.report.Days = w.entries, int((w.now-dayOne)/day)
	for kind, on := range w.troubles {
		if on {
			w.report.Troubles = append(w.report.Troubles, trouble(kind).String())
		}
	}
	return w.report
}

// snapshot writes a view, the newest one once.
func (w *world) snapshot(v *machine.View) []byte {
	if v == w.written.view {
		return w.written.bytes
	}
	var out bytes.Buffer
	out.Grow(w.report.Most + w.report.Most/8)
	if err := machine.Snapshot(v, &out); err != nil {
		w.fail("I12", "%v", err)
	}
	w.report.Most = max(w.report.Most, out.Len())
	if v == w.view {
		w.written.view, w.written.bytes = v, out.Bytes()
	}
	return out.Bytes()
}
