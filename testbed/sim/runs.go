package sim

import (
	"math/big"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// run is an attempt of a task as the executor knows it.
type run struct {
	id     runID
	job    *job
	task   int32
	node   scheduler.NodeID
	pool   scheduler.PoolID
	placed funding.Millis

	began  funding.Millis // when the first process started, as its executor knows
	barren bool           // it never had a process
	start  funding.Millis // the same once it was told; zero before
	plan   funding.Millis // how long it takes if nobody stops it
	linger int            // how much of the time between signal and kill it takes to stop, per cent
	how    machine.End    // how it ends by itself
	frozen []machine.Span // when its lease had lapsed
	over   *machine.End   // its end, as its executor has seen it
	ended  *machine.End   // what was told of its end

	gpus []int // which of its machine's it has in truth

	posted  funding.Amount // charged for it so far
	overrun funding.Amount // and borne by the operator
	charged funding.Amount // the first of them over all stretches, and for its keep
	bore    funding.Amount // and the second

	nap    *nap           // while it is suspended
	least  funding.Amount // with how much it went on after that
	dozed  funding.Millis // when it came to its machine's disk
	since  funding.Millis // when it last went on after that; zero: never
	slept  funding.Millis // for how long in all
	before funding.Millis // billed until then
	stored string         // what its machine said of where it may go on, once the servers have it
	gone   funding.Millis // of its job's limit, before it moved to its machine

	settled funding.Millis // up to when, on the way
	paid    funding.Amount // posted by then
	borne   funding.Amount // overrun by then
}

// until is when the run's time limit strikes.
func (r *run) until() funding.Millis {
	if r.job.limit == 0 || r.start == 0 {
		return 0
	}
	return r.start + r.limit() + r.slept
}

// usage is what the run owes for this stretch, from its beginning up to a time, without what it was frozen for:
// as if that were its end and it were settled once.
func (r *run) usage(p *prices, to funding.Millis, frozen []machine.Span) (owed funding.Amount, billed funding.Millis) {
	if limit := r.until(); limit != 0 {
		to = min(to, limit)
	}
	from := max(r.start, r.since)
	to = max(to, from)
	sum := p.sum(from, to)
	billed = to - from
	for _, span := range frozen {
		a, b := min(max(span.From, from), to), min(max(span.To, from), to)
		sum.Sub(sum, p.sum(a, b))
		billed -= b - a
	}
	most, err := r.job.bid.Cost(r.job.weight, billed)
	if err != nil {
		return -1, billed
	}
	// A run under notice no longer holds the price down, and still pays no more than its bid.
	return min(cost(r.job.weight, sum), most), billed
}

// hearPlaced notes a run.
func (w *world) hearPlaced(e machine.Event) {
	j := w.jobsByID[e.Job]
	if j == nil {
		w.fail("I8", "a run of job %d, which nobody sent", e.Job)
		return
	}
	for _, other := range w.runs {
		if other.job == j && other.task == e.Task {
			w.fail("I8", "task %d of job %d runs twice, as run %d and as run %d", e.Task, j.id, other.id, e.Run)
		}
	}
	r := &run{id: e.Run, job: j, task: e.Task, node: e.Node, pool: e.Pool, placed: e.At, linger: w.dice.IntN(101)}
	w.planEnd(r)
	if w.moving != nil {
		w.hearArrived(r)
	}
	w.runs = append(w.runs, r)
	w.runsByID[r.id] = r
	w.report.Runs++
	if j.gpu.Asks(j.need) {
		w.report.GPUs++
	}
}

// hearSettled holds what a run was charged on the way against its time (I8, I11). What is settled is
// final, so it may not lie beyond the run's true end, heard of or not.
func (w *world) hearSettled(e machine.Event) {
	r := w.runsByID[e.Run]
	if r == nil || r.start == 0 {
		w.fail("I8", "run %d was settled and does not run", e.Run)
		return
	}
	if end := w.trueEnd(r); e.Until > end.At {
		w.fail("I8", "run %d was settled up to %d and had ended at %d", r.id, e.Until, end.At)
	}
	owed, _ := r.usage(w.prices[r.pool], e.Until, r.frozen)
	if owed != r.posted+r.overrun {
		w.fail("I11", "run %d was settled up to %d for %d and %d of overrun, it owed %d", r.id, e.Until, r.posted, r.overrun, owed)
	}
	r.settled, r.paid, r.borne = e.Until, r.posted, r.overrun
	w.report.Settled++
}

// trueEnd is when a started run ends or has ended, whoever knows it.
func (w *world) trueEnd(r *run) machine.End {
	if r.ended != nil {
		return *r.ended
	}
	return w.endOf(r, r.start)
}

// void says that a run ended by our doing, or before anything of its job's had run: what was not settled is not charged.
func void(reason scheduler.Reason) bool {
	switch reason {
	case scheduler.ReasonStartFailed:
		return true
	case scheduler.ReasonFault, scheduler.ReasonNodeLost, scheduler.ReasonDrained, scheduler.ReasonFaultsTwice, scheduler.ReasonNoRoom:
		return true
	}
	return false
}

// hearRunEnded holds a run's whole charge against the time for which it truly ran (I8, I9, I11):
// what was settled on the way counts as if it had been settled now.
func (w *world) hearRunEnded(before *machine.View, e machine.Event) {
	r := w.runsByID[e.Run]
	if r == nil {
		w.fail("I5", "run %d ended and did not run", e.Run)
		return
	}
	w.dropRun(r)
	files, ok := w.view.Files(r.id)
	if !ok {
		w.fail("I6", "run %d ended and left nothing", r.id)
		return
	}
	if files.Charged < r.charged || files.Charged > r.charged+r.bore {
		w.fail("I6", "run %d says that it was charged %d, its transfers come to %d", r.id, files.Charged, r.charged)
	}
	if e.Reason == scheduler.ReasonMoved {
		w.hearMoved(before, r, e, files)
		return
	}
	if r.node == 0 { // no executor has it
		r.ended = &machine.End{At: e.At}
	}
	if void(e.Reason) {
		if r.posted != r.paid || r.overrun != r.borne {
			w.fail("I8", "run %d ended by our fault, or never began; %d was charged since it was settled", r.id, r.posted-r.paid)
		}
		return
	}
	if r.ended == nil {
		w.fail("I8", "run %d ended as %d and nobody said so", r.id, e.Reason)
		return
	}
	if r.nap != nil {
		w.checkNap(before, r, r.ended.At)
		if files.Billed != r.before {
			w.fail("I8", "run %d was billed for %d ms, and ran for %d before it was suspended", r.id, files.Billed, r.before)
		}
		return
	}
	var owed, minimum funding.Amount
	var billed funding.Millis
	if r.start != 0 {
		p := w.prices[r.pool]
		owed, billed = r.usage(p, r.ended.At, r.ended.Stopped)
		if short := second - r.before - billed; short > 0 {
			to := max(min(r.ended.At, orLater(r.until())), r.start, r.since)
			minimum = cost(r.job.weight, new(big.Int).Mul(big.NewInt(int64(min(p.at(to), r.job.bid))), big.NewInt(int64(short))))
			billed += short
		}
	}
	w.checkOverrun(before, r, owed+minimum)
	if r.posted+r.overrun != owed+minimum {
		w.fail("I11", "run %d was charged %d and %d of overrun; from %d to %d it owed %d and a minimum of %d",
			r.id, r.posted, r.overrun, r.start, r.ended.At, owed, minimum)
	}
	if files.Billed != r.before+billed {
		w.fail("I8", "run %d was billed for %d ms and ran for %d", r.id, files.Billed, r.before+billed)
	}
	w.checkBid(r, billed)
}

func orLater(limit funding.Millis) funding.Millis {
	if limit == 0 {
		return funding.MillisMax
	}
	return limit
}

// checkBid says that a run was charged no more than what its bid comes to, and that what was billed
// is time in which it ran.
func (w *world) checkBid(r *run, billed funding.Millis) {
	if r.start == 0 {
		return
	}
	most, err := r.job.bid.Cost(r.job.weight, billed)
	if err != nil {
		w.fail("bid", "%v", err)
	} else if r.posted > most+1 { // usage and minimum round up apart
		w.fail("bid", "run %d bid %d and was charged %d for %d ms of weight %d, at most %d", r.id, r.job.bid, r.posted, billed, r.job.weight, most)
	}
	if ran := max(r.ended.At-max(r.start, r.since), second); billed > ran {
		w.fail("I8", "run %d was billed for %d ms, it ended after %d; settled up to %d", r.id, billed, r.ended.At-r.start, r.settled-r.start)
	}
}

// checkOverrun says that what a run owed beyond its money was booked as the operator's, and nothing
// else was (I9).
func (w *world) checkOverrun(before *machine.View, r *run, owed funding.Amount) {
	if r.job.mode == funding.Safe {
		if r.overrun != 0 {
			w.fail("I9", "run %d is safe and overran its hold by %d", r.id, r.overrun)
		}
		return
	}
	record, ok := before.Run(r.id)
	if !w.alone || !ok || r.start == 0 {
		return // several ends at once share what the stream held
	}
	held := record.Hold // until it has started
	if hold, ok := before.Stream(machine.StreamID{Pot: r.job.pot, Pool: r.pool}); ok {
		held += hold.Held
	}
	posted, overrun := r.posted-r.paid, r.overrun-r.borne
	if r.job.most != 0 {
		held = min(held, r.job.most-(r.job.charged-posted))
	}
	if beyond := max(0, owed-r.paid-r.borne-max(0, held)); overrun != beyond {
		w.fail("I9", "run %d owed %d of %d that was held for it: the operator should bear %d and bore %d", r.id, owed-r.paid-r.borne, held, beyond, overrun)
	}
}

// checkMoney says that nothing runs on a tick after its money has ended (I9): what all runs of a
// stream truly owe is held for them, or they are being killed.
func (w *world) checkMoney() {
	owed := map[machine.StreamID]funding.Amount{} // looked up, never iterated
	for _, r := range w.runs {
		if id := r.stream(); r.job.mode == funding.Stream && r.start != 0 && r.nap == nil && owed[id] == 0 {
			owed[id] = w.owes(id, w.now)
		}
	}
	for _, r := range w.runs {
		if r.job.mode != funding.Stream || r.start == 0 || r.nap != nil || w.trueEnd(r).At < w.now-second {
			continue
		}
		hold, ok := w.view.Stream(r.stream())
		if !ok {
			w.fail("I9", "run %d is of a stream that does not exist", r.id)
			return
		}
		record, _ := w.view.Run(r.id)
		if owed[r.stream()] <= hold.Held || record.State == scheduler.RunStopping && record.KillAt <= w.now {
			continue
		}
		// A price that rises after the notice takes the rest sooner than it said. That is the operator's, and booked.
		if record.State != scheduler.RunStopping || w.owes(r.stream(), record.StopAt) > hold.Held {
			w.fail("I9", "run %d (%v, to be killed at %d) runs on at %d; its stream %+v owes %d", r.id, record.State, record.KillAt, w.now, *hold, owed[r.stream()])
		}
	}
}

func (r *run) stream() machine.StreamID { return machine.StreamID{Pot: r.job.pot, Pool: r.pool} }

// owes is what the runs of a stream truly owe, at prices that were announced up to a time.
func (w *world) owes(id machine.StreamID, announced funding.Millis) (sum funding.Amount) {
	for _, r := range w.runs {
		if r.job.mode == funding.Stream && r.start != 0 && r.nap == nil && r.stream() == id {
			part, _ := r.usage(w.prices[r.pool].upTo(announced), min(w.now-second, w.trueEnd(r).At), r.frozen)
			sum += max(0, part-r.paid-r.borne)
		}
	}
	return sum
}

func (w *world) dropRun(r *run) {
	for i, other := range w.runs {
		if other == r {
			w.runs = append(w.runs[:i], w.runs[i+1:]...)
			break
		}
	}
	delete(w.runsByID, r.id)
	if w.lostRuns = append(w.lostRuns, r.id); len(w.lostRuns) > 64 {
		w.lostRuns = w.lostRuns[1:]
	}
}
