package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

type (
	jobID = scheduler.JobID
	runID = scheduler.RunID
)

const (
	second = funding.Millis(1000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// depositKey names a deposit of a pot.
type depositKey struct {
	pot     funding.PotID
	deposit funding.DepositID
}

// applied is an entry as it went into the log.
type applied struct {
	number int
	index  uint64
	bytes  []byte
	code   machine.Code
	why    string
}

// world is a cluster and everybody around it, as they know themselves: nothing in it but view and
// the machines comes from the machine's state.
type world struct {
	Config
	dice    *rand.Rand
	m       Replica
	view    *machine.View
	second  *machine.Machine // applies all entries from the first one on
	twin    *machine.Machine // lives on from a snapshot, where there is one
	checked *machine.View    // when all was looked at last
	stale   []*machine.View
	entries int       // so far
	last    []applied // of them
	look    int       // at which entry all is looked at again
	light   int       // until which entry nothing else does
	now     funding.Millis
	failure *Failure
	report  Report

	*books
	purses   []*purse
	pots     []*pot // shared, not known to be gone
	jobs     []*job // not ended
	jobsByID map[jobID]*job
	runs     []*run // open
	runsByID map[runID]*run
	lostRuns []runID // given away, or ended: what is said of them is refused
	nodes    []*node
	moving   *run // a run that has moved, until the one is heard of that goes on
	claims   []claimable
	prices   map[scheduler.PoolID]*prices
	minting  funding.Amount // quoted and on its way to be minted
	promised map[depositKey]*promise
	paidIn   map[depositKey]funding.Amount // what the payer knows to have paid
	backTo   map[depositKey]funding.Amount // what came back of it
	out      map[uint64]funding.Amount     // coins in all purses, by keyset
	asked    []asked                       // requests that may come again
	used     []mint.Input                  // spent coins, for those who try twice
	serial   uint64
	keysets  int  // made so far
	calm     bool // what was due was done by the last entry
	alone    bool // the last entry ended one run at most, and did nothing else to its stream

	troubles [troubleKinds]bool
	echoes   []machine.Report // on their way: late, or for the second time
	behind   funding.Millis   // the clock of the leader that speaks
	old      *machine.View    // what a leader that is no more decided by

	written struct { // the last view of w.m's that became a snapshot
		view  *machine.View
		bytes []byte
	}
}

func (w *world) chance(percent int) bool { return w.dice.IntN(100) < percent }

// between draws from a range, both ends included.
func between[T ~int | ~int32 | ~int64 | ~uint64](w *world, low, high T) T {
	return low + T(w.dice.Int64N(int64(high-low)+1))
}

// one draws an item; false where there is none.
func one[T any](w *world, items []T) (item T, ok bool) {
	if len(items) == 0 {
		return item, false
	}
	return items[w.dice.IntN(len(items))], true
}

// secret is another one each time.
func (w *world) secret() (s [32]byte) {
	w.serial++
	for i := 0; i < len(s); i += 8 {
		n := w.dice.Uint64()
		for k := range 8 {
			s[i+k] = byte(n >> (8 * k))
		}
	}
	return s
}

func (w *world) fail(invariant, format string, args ...any) {
	if w.failure != nil {
		return
	}
	w.failure = &Failure{Seed: w.Seed, Entry: w.entries, Invariant: invariant, Found: fmt.Sprintf(format, args...), Last: w.tail()}
}

// lastKept is how many entries a failure tells.
const lastKept = 12

// tail tells the last entries.
func (w *world) tail() []string {
	var lines []string
	for _, e := range w.last {
		lines = append(lines, fmt.Sprintf("%d: %s", e.number, inWords(e)))
	}
	return lines
}

// propose sends an entry through the log. Those who sent it take in its answer in `then`, before what
// it made happen is heard and checked.
func (w *world) propose(c machine.Command, then ...func(machine.Result)) machine.Result {
	if w.failure != nil {
		return machine.Result{Code: machine.CodePanic}
	}
	at := w.now
	if _, report := c.(machine.Report); !report && w.chance(3) {
		at -= between(w, 0, minute) // a new leader's clock is behind; cluster time is not
	} else if !report {
		at -= w.behind
	}
	bytes, err := machine.Encode(at, c)
	if err != nil {
		w.fail("format", "%v", err)
		return machine.Result{Code: machine.CodeFormat}
	}
	before := w.view
	index := before.Index() + 1
	if w.chance(5) {
		index += between[uint64](w, 1, 3) // entries of Raft's own
	}
	r := w.m.Apply(index, bytes)
	w.entries++
	if w.last = append(w.last, applied{number: w.entries, index: index, bytes: bytes, code: r.Code, why: r.Detail}); len(w.last) > lastKept {
		w.last = w.last[1:]
	}
	if w.Progress != nil {
		w.Progress.Add(1)
	}
	w.view, w.calm = w.m.View(), false
	w.keepStale(before)
	w.report.Codes[r.Code]++
	if r.Code != machine.OK {
		w.report.Refused++
		w.checkRefusal(before, r)
	}
	for _, do := range then {
		do(r)
	}
	w.hear(before, r)
	w.checkEach()
	w.goAlong(r)
	if w.entries >= w.look {
		w.lookAtAll()
	}
	return r
}

// keepStale keeps views for leaders that decide late.
func (w *world) keepStale(v *machine.View) {
	if w.entries%4 != 0 {
		return
	}
	if w.stale = append(w.stale, v); len(w.stale) > 4 {
		w.stale = w.stale[1:]
	}
}

// answer reads an answer; a refusal has none.
func answer[T any](w *world, r machine.Result) (a T, ok bool) {
	if r.Code != machine.OK {
		return a, false
	}
	if err := machine.DecodeAnswer(r.Answer, &a); err != nil {
		w.fail("format", "%v", err)
		return a, false
	}
	return a, true
}

// checkRefusal says that a refused entry left nothing behind, and was no bug.
func (w *world) checkRefusal(before *machine.View, r machine.Result) {
	switch {
	case r.Code == machine.CodePanic || r.Code == machine.CodeInternal:
		w.fail(string(r.Code), "%s %s", r.Detail, r.Panic)
	case len(r.Events) != 0 || w.view.Seq() != before.Seq() || w.view.Chain() != before.Chain() || r.Answer != nil:
		w.fail("atomic", "an entry that was refused as %s made something happen", r.Code)
	case w.view.JobCount() != before.JobCount():
		w.fail("atomic", "an entry that was refused as %s left a job", r.Code)
	}
}

// step is one moment: time passes, and somebody does something.
func (w *world) step() {
	w.pass()
	w.replaceExpired()
	if w.beset() {
		return
	}
	switch n := w.dice.IntN(100); {
	case n < 20:
		w.clients()
	case n < 38:
		w.place(w.someView())
	case n < 45:
		w.reprice(w.someView())
	case n < 57:
		if w.pulse(); w.chance(30) {
			w.drowse()
		}
	case n < 85:
		w.executors()
	case n < 92:
		w.mischief()
	case n < 96:
		w.again()
	default:
		w.operators()
	}
}

// pass lets time go by: mostly seconds, sometimes days.
func (w *world) pass() {
	switch n := w.dice.IntN(1000); {
	case n < 300:
	case n < 900:
		w.now += between(w, 0, 2*second)
	case n < 985:
		w.now += between(w, second, 45*second)
	case n < 994:
		w.jump(between(w, minute, hour))
	case n < 998:
		w.jump(between(w, hour, 12*hour))
	case w.now < dayOne+youth || w.chance(10):
		w.jump(between(w, day, 9*day))
	}
}

// youth is when a life takes a slower pace: a million entries at the first one's would be eighty years, and a cluster has 256
// keysets in all.
const youth = 1000 * day
