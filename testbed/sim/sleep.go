package sim

import (
	"math/big"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// nap is a run that lies on its machine's disk.
type nap struct {
	from   funding.Millis // since when, as its executor said
	weight funding.Weight
	rate   funding.Rate
	paid   funding.Amount
	grace  funding.Millis // the shortest that its pool's pause grace was meanwhile
}

// sleeps is the executor's word that a paused run lies on its disk. Some say so of runs that are not paused, or no longer:
// nothing may come of it.
func (b *reports) sleeps(r *run, over bool) *machine.Suspended {
	record, ok := b.view.Run(r.id)
	if !ok || r.start == 0 || r.over != nil || over {
		return nil
	}
	if r.nap != nil {
		if record.State != scheduler.RunSuspended || r.stored != "" && b.chance(95) || b.chance(60) {
			return nil
		}
		return b.stows(r)
	}
	word := machine.Suspended{At: b.now}
	switch paused := record.State == scheduler.RunPaused; {
	case paused && b.chance(60):
		hold, _ := b.view.Stream(r.stream())
		word.At = between(b.world, max(hold.Paused, record.Heard, record.Begun()), b.now)
	case paused || !b.chance(2):
		return nil
	}
	for _, span := range r.frozen {
		if span.From < word.At {
			word.Stopped = append(word.Stopped, machine.Span{From: span.From, To: min(span.To, word.At)})
		}
	}
	if record.State == scheduler.RunPaused {
		r.dozed = word.At
	}
	if known := b.stows(r); known != nil && b.chance(20) {
		word.Stored = known.Stored
	}
	return &word
}

// doze lets machines bring to disk what has just been paused, and somebody think of it soon.
func (w *world) doze() {
	if w.chance(40) {
		return
	}
	w.now = max(w.now, w.view.At()) + between(w, 0, 5*second)
	b := reports{world: w}
	for _, r := range w.runs {
		if record, ok := w.view.Run(r.id); ok && record.State == scheduler.RunPaused && r.start != 0 && r.ended == nil && w.endOf(r, r.start).At > w.now {
			b.add(r)
		}
	}
	b.send()
	if keysets := w.view.Keysets(); w.chance(60) && !keysets[len(keysets)-1].Stopped { // nobody can pay before they are reconciled
		w.deposit(w.purses[w.dice.IntN(len(w.purses))])
	}
}

// hearSuspended holds what a run was charged up to the moment at which its state lay on disk against its time (I8, I11).
func (w *world) hearSuspended(e machine.Event) {
	r := w.runsByID[e.Run]
	if r == nil || r.start == 0 || r.dozed == 0 {
		w.fail("I8", "run %d was suspended and no executor said so", e.Run)
		return
	}
	if r.job.gpu.Asks(r.job.need) {
		w.fail("I8", "run %d has GPUs and was suspended", r.id)
	}
	owed, billed := r.usage(w.prices[r.pool], r.dozed, r.frozen)
	if owed != r.posted+r.overrun {
		w.fail("I11", "run %d was suspended at %d for %d and %d of overrun, it owed %d", r.id, r.dozed, r.posted, r.overrun, owed)
	}
	r.before += billed
	r.posted, r.overrun, r.paid, r.borne, r.settled = 0, 0, 0, 0, r.dozed
	kept := big.NewInt(r.job.need.Memory + r.job.need.Disk)
	kept.Mul(kept, big.NewInt(r.job.kept))
	kept.Add(kept, big.NewInt(scheduler.GiB-1)).Div(kept, big.NewInt(scheduler.GiB))
	pool, _ := w.view.Pool(r.pool)
	w.report.Suspended++
	if r.since != 0 {
		w.report.Again++
	}
	r.nap = &nap{from: r.dozed, grace: pool.PauseGrace, weight: funding.Weight(kept.Int64()), rate: min(w.prices[r.pool].at(e.At), r.job.bid)}
}

// hearWoken begins a new stretch of a run that was suspended, and gives it; nil: it was none.
func (w *world) hearWoken(before *machine.View, e machine.Event) *run {
	r := w.runsByID[e.Run]
	if e.Run == 0 {
		return nil // a stream that has money again
	}
	if r == nil || r.nap == nil {
		w.fail("I8", "run %d went on and was not suspended", e.Run)
		return nil
	}
	w.checkNap(before, r, e.At)
	lasts := big.NewInt(int64(r.nap.grace + second))
	r.least = cost(r.job.weight, lasts.Mul(lasts, big.NewInt(int64(min(r.job.bid, w.prices[r.pool].lowest(r.nap.from))))))
	r.slept += e.At - r.nap.from
	r.nap, r.stored, r.dozed, r.since = nil, "", 0, e.At
	w.report.Woken++
	record, _ := w.view.Run(r.id)
	if limit := r.until(); record.Until != limit {
		w.fail("I8", "run %d went on until %d, its limit is at %d", r.id, record.Until, limit)
	}
	return r
}

// checkWoken says that runs go on with money: each brings its stream what a second and the pause grace cost, at the lowest
// price since it was suspended.
func (w *world) checkWoken(before *machine.View, woken []*run) {
	for i, r := range woken {
		id, least := r.stream(), r.least
		for k, other := range woken {
			if k != i && other.stream() == id {
				least += other.least
			}
		}
		was, has := funding.Amount(0), funding.Amount(0)
		if hold, ok := before.Stream(id); ok {
			was = hold.Held
		}
		if hold, ok := w.view.Stream(id); ok {
			has = hold.Held
		}
		if has-was < least {
			w.fail("woken", "run %d and its siblings went on with %d, a second and the pause grace cost %d", r.id, has-was, least)
		}
	}
}

// checkNap says that a run was charged for its keep: for as long as it lay there, and no longer than that was paid (I9, I11).
func (w *world) checkNap(before *machine.View, r *run, to funding.Millis) {
	record, ok := before.Run(r.id)
	if !ok || record.Parked == nil {
		w.fail("I8", "run %d is suspended, and its record says %+v", r.id, record)
		return
	}
	owed := cost(r.nap.weight, new(big.Int).Mul(big.NewInt(int64(r.nap.rate)), big.NewInt(int64(max(0, min(to, record.Parked.Until)-r.nap.from)))))
	if owed != r.nap.paid+r.overrun {
		w.fail("I11", "run %d lay on disk from %d to %d, paid up to %d: it was charged %d and owed %d", r.id, r.nap.from, to, record.Parked.Until, r.nap.paid, owed)
	}
	// Its siblings may have used up what the job may ever cost: nobody pays more than that, so the rest is the operator's.
	if j := r.job; r.overrun != 0 && (j.most == 0 || j.charged-j.rounding < j.most) {
		w.fail("I9", "run %d overran its keep by %d", r.id, r.overrun)
	}
}

// wake lets suspended runs go on, as a leader does.
func (w *world) wake(view *machine.View) {
	due := view.WakeDue(w.now, between(w, 1, 50))
	if len(due.Wake)+len(due.Move) == 0 {
		return
	}
	fresh := view == w.view
	a, ok := answer[machine.PulseAnswer](w, w.propose(due))
	if !ok || fresh && a.Skipped != 0 {
		w.fail("leader", "of %d suspended runs that could go on %d did", len(due.Wake)+len(due.Move), a.Done)
	}
}

// sleepersPot is a pot from which a suspended run waits for money.
func (w *world) sleepersPot() (funding.FundID, bool) {
	for _, r := range w.runs {
		if r.nap == nil {
			continue
		}
		if pot, ok := w.view.Pot(r.job.pot); ok {
			return pot.Keys.Fund, true
		}
	}
	return funding.FundID{}, false
}
