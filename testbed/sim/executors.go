package sim

import (
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// node is a machine as its executor knows it.
type node struct {
	id    scheduler.NodeID
	name  string
	facts machine.NodeFacts
	pool  string
	lost  bool
	gone  bool

	changed funding.Millis // when its cards did last
}

// planEnd decides how a run goes if nobody stops it.
func (w *world) planEnd(r *run) {
	switch n := w.dice.IntN(20); {
	case n < 2:
		r.plan = between(w, 0, second)
	case n < 10:
		r.plan = between(w, second, minute)
	case n < 15:
		r.plan = between(w, minute, 2*hour)
	default:
		r.plan = between(w, hour, 5*day)
	}
	r.how = machine.End{Reason: scheduler.ReasonExited, CPUMillis: w.dice.Int64N(1e6), PeakBytes: w.dice.Int64N(1 << 32)}
	switch n := w.dice.IntN(100); {
	case n < 70:
	case n < 82:
		r.how.Exit = between[int32](w, 1, 255)
	case n < 87:
		r.how.Reason, r.how.Signal = scheduler.ReasonSignalled, 11
	case n < 91:
		r.how.Reason = scheduler.ReasonOutOfMemory
	case n < 95:
		r.how.Reason, r.how.Exit = scheduler.ReasonStartFailed, 127
	default:
		r.how.Reason, r.how.Fault = scheduler.ReasonFault, true
	}
}

// endOf is when a run truly ends, and how: by itself, by its limit, or because it was told to.
func (w *world) endOf(r *run, start funding.Millis) machine.End {
	if r.over != nil {
		return *r.over
	}
	end := r.how
	end.At = start + r.plan + r.slept
	if r.nap != nil {
		end.At = funding.MillisMax // while it lies on disk nothing ends it but an order
	}
	if record, ok := w.view.Run(r.id); ok && record.State == scheduler.RunStopping {
		stop := max(record.StopAt, start)
		if told := stop + max(0, record.KillAt-stop)*funding.Millis(r.linger)/100; told < end.At {
			end = machine.End{At: told, Reason: scheduler.ReasonSignalled, Signal: 15, CPUMillis: 7}
		}
	}
	if limit := r.limit() + r.slept; r.job.limit != 0 && r.nap == nil && end.At > start+limit {
		late := funding.Millis(0)
		if r.linger > 80 {
			late = funding.Millis(r.linger) * 20 // the machine was slow to kill
		}
		end = machine.End{At: start + limit + late, Reason: scheduler.ReasonTimeLimit, Signal: 9}
	}
	for _, span := range r.frozen {
		if span.To <= end.At {
			end.Stopped = append(end.Stopped, span)
		}
	}
	return end
}

// freeze notes that a run stood still while its lease had lapsed.
func (w *world) freeze(r *run, from, to funding.Millis) {
	if n := len(r.frozen); n > 0 {
		from = max(from, r.frozen[n-1].To)
	}
	a := between(w, from, max(from, to))
	b := between(w, a, max(a, to))
	if end := w.endOf(r, r.start).At; b > end {
		return
	}
	r.frozen = append(r.frozen, machine.Span{From: a, To: b})
}

// reports is one batch of what executors say, and what they will hold to be true once it was heard.
type reports struct {
	*world
	entry machine.Report
	told  []*run
	undo  []func()
}

// add says what is new about a run, if there is anything.
func (b *reports) add(r *run) {
	if r.ended != nil || r.placed > b.now || r.node == 0 {
		return
	}
	report := machine.RunReport{Run: r.id}
	start, old := r.start, r.start
	if start == 0 {
		first := r.began == 0
		if first {
			r.began = min(b.now, r.placed+between(b.world, 0, 3*second))
			if !b.allocate(r) {
				r.barren, r.over = true, noRoom(b.now)
				b.report.NoRoom++
			}
		}
		start = r.began
		switch end := b.endOf(r, start); {
		case r.barren || first && end.Reason == scheduler.ReasonStartFailed && b.chance(50) && end.At <= b.now:
			start, r.barren = 0, true
		case b.chance(70) || end.At > b.now:
			report.Started, r.start = &start, start
			if b.chance(70) {
				b.put(r, report, old)
				return
			}
		default:
			report.Started, r.start = &start, start
		}
	}
	end := b.endOf(r, max(start, r.placed))
	over := end.At <= b.now
	if report.Suspended = b.sleeps(r, over); report.Suspended != nil {
		b.put(r, report, old)
		return
	}
	if r.start != 0 && (!over || b.chance(25)) {
		report.Alive = b.heard(r, min(end.At, b.now))
		over = over && b.chance(30) // or its files are still being brought to the servers
	}
	if end.At <= b.now {
		r.over = &end
	}
	if over {
		report.Ended, r.ended = &end, &end
	}
	if report.Started != nil || report.Ended != nil || report.Alive != nil {
		b.put(r, report, old)
	}
}

// heard is the executor's word that a run has gone on, up to now or up to when the word was sent:
// mostly only if that is news.
func (b *reports) heard(r *run, now funding.Millis) *machine.Alive {
	to := now
	if b.chance(30) {
		to = between(b.world, r.start, now)
	}
	word := machine.Alive{To: to}
	for _, span := range r.frozen {
		if span.From < to {
			word.Stopped = append(word.Stopped, machine.Span{From: span.From, To: min(span.To, to)})
		}
	}
	if record, ok := b.view.Run(r.id); ok && !word.News(record) && b.chance(97) {
		return nil
	}
	return &word
}

func (b *reports) put(r *run, report machine.RunReport, old funding.Millis) {
	b.entry.Runs = append(b.entry.Runs, report)
	b.told = append(b.told, r)
	b.undo = append(b.undo, func() { r.start, r.ended = old, nil })
}

// send proposes the batch: what executors truly saw is always taken.
func (b *reports) send() {
	if len(b.entry.Runs) == 0 || b.failure != nil {
		return
	}
	if !b.arrives() {
		return
	}
	b.alone = len(b.entry.Runs) == 1 && b.entry.Runs[0].Alive == nil
	a, ok := answer[machine.ReportAnswer](b.world, b.propose(b.entry))
	b.alone = false
	if !ok {
		b.fail("answer", "a report was refused")
		return
	}
	for _, refused := range a.Refused {
		r := b.told[refused.Item]
		b.fail("answer", "the report of run %d was refused as %s", r.id, refused.Code)
		b.undo[refused.Item]()
	}
}

// executors say what is new of some runs, or of all.
func (w *world) executors() {
	if w.chance(6) {
		w.lease()
		return
	}
	w.now = max(w.now, w.view.At())
	b := reports{world: w}
	if w.chance(60) {
		if r, ok := one(w, w.runs); ok {
			b.add(r)
		}
	} else {
		for _, r := range w.runs {
			if w.chance(40) {
				b.add(r)
			}
		}
	}
	b.send()
}

// reportAll says all that is new.
func (w *world) reportAll() {
	w.now = max(w.now, w.view.At())
	for range 2 { // starts, then ends
		b := reports{world: w}
		for _, r := range w.runs {
			b.add(r)
		}
		b.send()
	}
}

// lease is what happens to whole machines: one is cut off for a while, given up, or comes back.
func (w *world) lease() {
	n, ok := one(w, w.nodes)
	switch {
	case !ok || n.gone:
	case !n.lost && w.chance(8):
		w.ail(n)
	case n.lost:
		n.lost = false
		w.mayRefuse(w.propose(machine.NodeUpdate{Node: n.id, Facts: n.facts}))
	case w.chance(40):
		w.jump(75 * second)
		w.loseNode(n)
	default:
		from := w.now
		w.now += between(w, 0, 15*second)
		for _, r := range w.runs {
			if r.node == n.id && r.start != 0 && r.ended == nil {
				w.freeze(r, from, w.now)
			}
		}
	}
}

func (w *world) loseNode(n *node) {
	n.lost = true
	w.mayRefuse(w.propose(machine.Pulse{Lost: []scheduler.NodeID{n.id}}))
}

// badReports are lies and echoes: each is refused by itself.
func (w *world) badReports() {
	w.now = max(w.now, w.view.At())
	entry := machine.Report{}
	if r, ok := one(w, w.runs); ok && r.ended == nil {
		before, later := r.placed-1, w.now+second
		if r.start == 0 {
			entry.Runs = append(entry.Runs, machine.RunReport{Run: r.id, Started: &before}, machine.RunReport{Run: r.id, Started: &later})
		}
		from := max(r.placed, r.start)
		for _, end := range []machine.End{
			{At: from - 1, Reason: scheduler.ReasonExited}, {At: later, Reason: scheduler.ReasonExited}, {At: from},
			{At: from, Reason: 99}, {At: from, Reason: scheduler.ReasonExited, CPUMillis: -1},
			{At: w.now, Reason: scheduler.ReasonExited, Stopped: []machine.Span{{From: from - 5, To: from}}},
			{At: w.now, Reason: scheduler.ReasonExited, Stopped: []machine.Span{{From: w.now, To: later}}},
		} {
			entry.Runs = append(entry.Runs, machine.RunReport{Run: r.id, Ended: &end})
		}
		for _, word := range []machine.Alive{
			{To: later}, {To: w.now, Stopped: []machine.Span{{From: r.placed - 5, To: w.now}}},
			{To: w.now, Stopped: []machine.Span{{From: w.now, To: later}}},
		} {
			entry.Runs = append(entry.Runs, machine.RunReport{Run: r.id, Alive: &word})
		}
	}
	if id, ok := one(w, w.lostRuns); ok {
		entry.Runs = append(entry.Runs, machine.RunReport{Run: id, Ended: &machine.End{At: w.now, Reason: scheduler.ReasonExited}})
	}
	if len(entry.Runs) == 0 {
		return
	}
	if a, ok := answer[machine.ReportAnswer](w, w.propose(entry)); !ok || len(a.Refused) != len(entry.Runs) {
		w.fail("answer", "of %d reports that cannot be, %d were refused", len(entry.Runs), len(a.Refused))
	}
}
