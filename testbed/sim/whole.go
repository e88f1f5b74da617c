package sim

import (
	"bytes"
	"errors"
	"reflect"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

type (
	jobRecord = scheduler.Job
	runRecord = scheduler.Run
)

// looksApart keeps what looks cost in all from growing faster than a life does: they lie a fortieth of it apart. What each
// entry moves is held against the state at that entry, whatever its number.
const looksApart = 40

// lookAtAll checks the whole state: against itself, against what it was, and against what everybody
// in this world knows.
func (w *world) lookAtAll() {
	if w.failure != nil {
		return
	}
	if err := errors.Join(w.view.Check(), w.view.CheckWork(funding.MillisMax), w.view.CheckGrowth(w.checked)); err != nil {
		w.violated(err)
	}
	w.checkCards()
	w.checked = w.view
	w.look = w.entries + max(w.FullEach, w.entries/looksApart)
	w.compareSecond()
	w.view.Balances(func(a funding.Account, has funding.Amount) bool {
		if has != w.balance[a] {
			w.fail("I1", "%v has %d, its transfers come to %d", a, has, w.balance[a])
		}
		return true
	})
	for _, keyset := range w.view.Keysets() {
		coins := funding.Account{Kind: funding.LiabilityCoins, ID: uint64(keyset.Number)}
		if has := w.view.Balance(coins); has != w.out[coins.ID] {
			w.fail("conservation", "coins of keyset %d: %d are outstanding, purses hold %d", coins.ID, has, w.out[coins.ID])
		}
	}
	var due funding.Amount
	for _, c := range w.claims {
		due += c.amount
	}
	if has := w.view.Balance(funding.Account{Kind: funding.LiabilityRefund}); has != due {
		w.fail("conservation", "%d can be claimed, those who may claim know of %d", has, due)
	}
	for _, j := range w.jobs {
		record, ok := w.view.Job(j.id)
		if !ok || record.State == scheduler.JobDone {
			w.fail("I6", "job %d is over and nobody was told", j.id)
		} else if record.Charged != j.charged {
			w.fail("I6", "job %d says that it was charged %d, its transfers come to %d", j.id, record.Charged, j.charged)
		}
	}
	for _, p := range w.view.Pools() {
		if told := w.prices[p.ID].now(); told != p.Price {
			w.fail("I11", "pool %d has a price of %d, %d was told", p.ID, p.Price, told)
		}
	}
}

// violated makes a failure of a checker's word, with the invariant's own name.
func (w *world) violated(err error) {
	var v *funding.Violation
	if errors.As(err, &v) {
		w.fail(v.Invariant, "%s", err)
		return
	}
	w.fail("state", "%v", err)
}

// compareSecond holds the machine that applied all entries from the first one on against the one that may have been started
// again from snapshots (I12).
func (w *world) compareSecond() {
	if w.second != nil && !bytes.Equal(w.snapshot(w.view), w.snapshot(w.second.View())) {
		w.fail("I12", "a machine that applied the whole log has another snapshot")
	}
}

// goAlong has a second machine apply what the first one does, and for a while a third, restored from a snapshot (I12).
func (w *world) goAlong(r machine.Result) {
	if w.Alone || w.failure != nil {
		return
	}
	last := w.last[len(w.last)-1]
	if other := w.second.Apply(last.index, last.bytes); other.Sum != r.Sum {
		w.fail("I12", "a machine that applied the whole log has another result: %s %s, not %s", other.Code, other.Detail, r.Code)
	}
	if w.twin == nil {
		if w.dice.IntN(250+w.entries/looksApart) == 0 {
			w.restart()
		}
		return
	}
	if other := w.twin.Apply(last.index, last.bytes); other.Sum != r.Sum {
		w.fail("I12", "a machine restored from a snapshot has another result: %s %s, not %s", other.Code, other.Detail, r.Code)
	}
	if w.dice.IntN(150) == 0 {
		w.compareTwin()
		w.twin = nil
	}
}

// restart makes a machine from a snapshot. It goes along, or takes the place of the first one, as when a server starts again.
func (w *world) restart() {
	if w.Alone || w.twin != nil {
		return
	}
	restored, err := machine.Restore(bytes.NewReader(w.snapshot(w.view)))
	if err != nil {
		w.fail("I12", "%v", err)
		return
	}
	w.twin = restored
	w.compareTwin()
	if first, ok := w.m.(*machine.Machine); ok && w.chance(50) {
		w.m, w.twin = restored, first
		w.view = w.m.View()
	}
}

// compareTwin holds what two machines derive from the same state against each other.
func (w *world) compareTwin() {
	mine, other := w.view, w.twin.View()
	if !bytes.Equal(w.snapshot(mine), w.snapshot(other)) {
		w.fail("I12", "a machine restored from a snapshot has other bytes")
	}
	for _, at := range []funding.Millis{w.now, w.now + minute, w.now + day} {
		one, _ := mine.Due(at)
		two, _ := other.Due(at)
		if !reflect.DeepEqual(one, two) {
			w.fail("I12", "due at %d is %+v here and %+v after a restore", at, one, two)
		}
		_, left := mine.SweepDue(at)
		if _, other := other.SweepDue(at); left != other {
			w.fail("I12", "something to sweep at %d: %t here and %t after a restore", at, left, other)
		}
		kept, _ := mine.ForgetDue(at, 1000)
		if other, _ := other.ForgetDue(at, 1000); !reflect.DeepEqual(kept, other) {
			w.fail("I12", "forgotten at %d is %+v here and %+v after a restore", at, kept, other)
		}
	}
	if one, two := scheduler.Place(mine.Scheduler(), w.now, 0), scheduler.Place(other.Scheduler(), w.now, 0); !reflect.DeepEqual(one, two) {
		w.fail("I12", "placed is %v here and %v after a restore", one, two)
	}
	for _, p := range mine.Pools() {
		if one, two := scheduler.Price(mine.Scheduler(), p.ID), scheduler.Price(other.Scheduler(), p.ID); one != two {
			w.fail("I12", "the price of pool %d is %d here and %d after a restore", p.ID, one, two)
		}
	}
}
