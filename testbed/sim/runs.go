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

	start  funding.Millis // of the first process, once it was told; zero before
	plan   funding.Millis // how long it takes if nobody stops it
	linger int            // how much of the time between signal and kill it takes to stop, per cent
	how    machine.End    // how it ends by itself
	frozen []machine.Span // when its lease had lapsed
	ended  *machine.End   // what was told of its end

	settled funding.Millis // up to when
	posted  funding.Amount // charged for it so far
	overrun funding.Amount
}

// until is when the run's time limit strikes.
func (r *run) until() funding.Millis {
	if r.job.limit == 0 || r.start == 0 {
		return 0
	}
	return r.start + r.job.limit
}

// usage is what the run owes from its first process up to a time, without what it was frozen for
// after it was last settled: what was settled is final.
func (r *run) usage(p *prices, to funding.Millis, frozen []machine.Span) (owed funding.Amount, billed funding.Millis) {
	if limit := r.until(); limit != 0 {
		to = min(to, limit)
	}
	to = max(to, r.start, r.settled)
	sum := p.sum(r.start, to)
	billed = to - r.start
	for _, span := range frozen {
		a, b := min(max(span.From, r.settled), to), min(max(span.To, r.settled), to)
		sum.Sub(sum, p.sum(a, b))
		billed -= b - a
	}
	most, err := r.job.bid.Cost(r.job.weight, billed)
	if err != nil {
		return -1, billed
	}
	// A run under notice no longer holds the price down, and still pays no more than its bid.
	return max(min(cost(r.job.weight, sum), most), r.posted+r.overrun), billed
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
	w.runs = append(w.runs, r)
	w.runsByID[r.id] = r
	w.report.Runs++
}

// hearSettled holds what a run was charged on the way against its time (I8, I11).
func (w *world) hearSettled(e machine.Event) {
	r := w.runsByID[e.Run]
	if r == nil || r.start == 0 {
		w.fail("I8", "run %d was settled and does not run", e.Run)
		return
	}
	owed, _ := r.usage(w.prices[r.pool], e.At, nil)
	r.settled = min(e.At, orLater(r.until()))
	if owed != r.posted+r.overrun {
		w.fail("I11", "run %d was settled at %d for %d and %d of overrun, it owed %d", r.id, e.At, r.posted, r.overrun, owed)
	}
	w.report.Settled++
}

// void says that a run ended by our doing: what was not settled is not charged.
func void(reason scheduler.Reason) bool {
	switch reason {
	case scheduler.ReasonFault, scheduler.ReasonNodeLost, scheduler.ReasonDrained, scheduler.ReasonFaultsTwice:
		return true
	}
	return false
}

// hearRunEnded holds a run's whole charge against the time for which it truly ran (I8, I9, I11).
func (w *world) hearRunEnded(before *machine.View, e machine.Event, alone bool) {
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
	var owed, minimum funding.Amount
	var billed funding.Millis
	switch {
	case void(e.Reason):
		owed = r.posted + r.overrun
		if r.settled == 0 && owed != 0 {
			w.fail("I8", "run %d ended by our fault and was charged %d", r.id, owed)
		}
	case r.ended == nil:
		w.fail("I8", "run %d ended as %d and nobody said so", r.id, e.Reason)
		return
	case r.start != 0:
		p := w.prices[r.pool]
		r2 := *r
		r2.posted, r2.overrun = 0, 0
		owed, billed = r2.usage(p, r.ended.At, r.ended.Stopped)
		if short := second - billed; short > 0 {
			to := max(min(r.ended.At, orLater(r.until())), r.start, r.settled)
			minimum = cost(r.job.weight, new(big.Int).Mul(big.NewInt(int64(p.at(to))), big.NewInt(int64(short))))
			billed = second
		}
	}
	if r.posted+r.overrun != owed+minimum && !void(e.Reason) {
		w.fail("I11", "run %d was charged %d and %d of overrun; from %d to %d it owed %d and a minimum of %d",
			r.id, r.posted, r.overrun, r.start, r.ended.At, owed, minimum)
	}
	if !void(e.Reason) && files.Billed != billed {
		w.fail("I8", "run %d was billed for %d ms and ran for %d", r.id, files.Billed, billed)
	}
	w.checkBid(r, e, billed)
	w.checkOverrun(before, r, e, minimum, alone)
}

func orLater(limit funding.Millis) funding.Millis {
	if limit == 0 {
		return funding.MillisMax
	}
	return limit
}

// checkBid says that a run was charged no more than what its bid comes to, and that what was billed
// is time in which it ran.
func (w *world) checkBid(r *run, e machine.Event, billed funding.Millis) {
	if void(e.Reason) || r.start == 0 {
		return
	}
	most, err := r.job.bid.Cost(r.job.weight, billed)
	if err != nil {
		w.fail("bid", "%v", err)
	} else if r.posted > most+1 { // usage and minimum round up apart
		w.fail("bid", "run %d bid %d and was charged %d for %d ms of weight %d, at most %d", r.id, r.job.bid, r.posted, billed, r.job.weight, most)
	}
	if ran := max(r.ended.At-r.start, second); billed > ran {
		w.fail("I8", "run %d was billed for %d ms, it ended after %d; settled up to %d", r.id, billed, r.ended.At-r.start, r.settled-r.start)
	}
}

// checkOverrun says that the operator bore only what was run after the money's end (I9).
func (w *world) checkOverrun(before *machine.View, r *run, e machine.Event, minimum funding.Amount, alone bool) {
	if r.overrun == 0 || void(e.Reason) {
		return
	}
	if r.job.mode == funding.Safe {
		w.fail("I9", "run %d is safe and overran its hold by %d", r.id, r.overrun)
		return
	}
	record, ok := before.Run(r.id)
	if !alone || !ok || record.Start == 0 || minimum != 0 || r.job.most != 0 || r.settled != 0 {
		return
	}
	// With others in the stream, one that started after this end would be counted as less than nothing.
	hold, ok := before.Stream(machine.StreamID{Pot: r.job.pot, Pool: r.pool})
	series, _ := before.Series(r.pool)
	if !ok {
		w.fail("I9", "run %d is of a stream that does not exist", r.id)
	} else if end, ends := hold.Threshold(hold.Held); hold.Runs == 1 && ends && series.At(r.ended.At).Cmp(end) < 0 {
		w.fail("I9", "run %d overran by %d before its money ended", r.id, r.overrun)
	}
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
