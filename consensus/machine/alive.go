package machine

import (
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// settleEach is how often long runs are settled; what was posted is final.
const settleEach funding.Millis = 86_400_000

// Alive is an executor's word on a run that goes on: up to a time it ran, but for when it stood
// still. Only such time is ever settled on the way. The run may have ended since, unheard; so what
// is settled and final never exceeds what its true end would have charged.
type Alive struct {
	To      funding.Millis `cbor:"1,keyasint"`
	Stopped []Span         `cbor:"2,keyasint,omitempty"` // all so far, as in [End]
}

// News says whether the word changes anything: a day is to be settled, or the run stood still for a
// while. Otherwise it is not worth an entry: a running task costs the log nothing.
func (a Alive) News(run *scheduler.Run) bool {
	if run.Start == 0 || run.Parked != nil {
		return false
	}
	from, to := max(run.Begun(), run.Heard), a.upTo(run)
	for _, span := range a.Stopped {
		if max(span.From, from) < min(span.To, to) {
			return true
		}
	}
	return a.settles(run)
}

// upTo leaves out what lies after the run's limit, which is never charged.
func (a Alive) upTo(run *scheduler.Run) funding.Millis {
	if run.Until != 0 {
		return min(a.To, run.Until)
	}
	return a.To
}

func (a Alive) settles(run *scheduler.Run) bool {
	return a.upTo(run) >= max(run.Begun(), run.Settled)+settleEach && a.upTo(run) > run.Heard
}

// goOnRunning takes in that a run went on: the time for which it stood still is no longer owed, and
// once a day what it owes is posted.
func (tx *Tx) goOnRunning(old *scheduler.Run, a Alive) error {
	if !a.News(old) {
		return nil
	}
	j, err := tx.openJob(old.Job)
	if err != nil {
		return err
	}
	run := *old
	if err := j.takeOut(&run, a.Stopped, a.upTo(old)); err != nil {
		return fmt.Errorf("hear of run %d: %w", run.ID, err)
	}
	if a.settles(old) {
		if err := j.settleHeard(&run); err != nil {
			return err
		}
	}
	j.runs.put(run.ID, &run)
	j.save()
	if j.job.Mode != funding.Stream {
		return nil
	}
	// What a stream need not pay for the time is there again: enough, perhaps, to go on.
	if hold := tx.streams.must(j.streamID()); hold.Paused != 0 || hold.Noticed {
		if _, err := tx.renew(j.streamID()); err != nil {
			return err
		}
	}
	return tx.potGrew(j.pot.ID)
}

// stoodStill adds up for how long a run was frozen between the time up to which its executor was
// heard and another, and how far the index rose meanwhile.
func (j *jobTx) stoodStill(run *scheduler.Run, frozen []Span, to funding.Millis) (stretch funding.Index, away funding.Millis, err error) {
	from := max(run.Begun(), run.Heard)
	for _, span := range frozen {
		a, b := min(max(span.From, from), to), min(max(span.To, from), to)
		part, err := j.indexAt(b, run.Pool).Sub(j.indexAt(a, run.Pool))
		if err != nil {
			return stretch, 0, err
		}
		if stretch, err = stretch.Add(part); err != nil {
			return stretch, 0, err
		}
		away += b - a
	}
	return stretch, away, nil
}

// takeOut lets a run owe nothing for the time in which it was frozen.
func (j *jobTx) takeOut(run *scheduler.Run, frozen []Span, to funding.Millis) error {
	stretch, away, err := j.stoodStill(run, frozen, to)
	if err != nil {
		return err
	}
	if run.From, err = run.From.Add(stretch); err != nil {
		return err
	}
	run.Heard, run.Frozen = to, run.Frozen+away
	if away == 0 || j.job.Mode != funding.Stream {
		return nil
	}
	hold, err := j.stream().Skip(run.Weight, stretch)
	if err != nil {
		return err
	}
	if hold, err = j.shrink(hold); err != nil {
		return err
	}
	j.putStream(j.streamID(), hold)
	if limit, ok := j.caps.get(j.job.ID); ok {
		next, err := limit.Skip(run.Weight, stretch)
		if err != nil {
			return err
		}
		j.caps.put(j.job.ID, &next)
	}
	return nil
}

// settleHeard posts what a run owes up to the time up to which its executor was heard. Settled often
// or once, the total is the same.
func (j *jobTx) settleHeard(run *scheduler.Run) error {
	m, err := j.meter(run, run.Heard, nil, false)
	if err != nil {
		return fmt.Errorf("settle run %d: %w", run.ID, err)
	}
	var posted funding.Amount
	if j.job.Mode == funding.Stream {
		posted, err = j.settleInStream(run, m.charge)
	} else if posted, err = j.settle(run, m.charge, run.Hold); err == nil {
		run.Hold -= posted
		j.job.Hold -= posted
	}
	if err != nil {
		return err
	}
	run.Owed += m.usage // what was overrun is booked too, and not owed again
	run.Settled = run.Heard
	settled := j.about(EventSettled)
	settled.Run, settled.Task, settled.Amount, settled.Until = run.ID, run.Task, posted, run.Settled
	j.emit(settled)
	return nil
}
