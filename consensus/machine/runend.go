package machine

import (
	"fmt"
	"slices"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// faultsKept bounds the nodes that a job remembers for having failed it.
const faultsKept = 16

// nodeFaultsMax is how many faults put a node into quarantine.
const nodeFaultsMax = 3

// sigterm is the signal by which tasks are asked to stop.
const sigterm = 15

// outcome is how a run ended, as the machine sees it.
type outcome struct {
	End
	again bool // the task waits again, uncharged: it was our doing
	ran   bool // it had a process, which ended with the code and the signal reported
}

// outcomeOf reads an executor's word in the light of what was ordered. What we stopped ended for
// our reason, whatever the process made of the signal.
func outcomeOf(run *scheduler.Run, e *End) outcome {
	o := outcome{End: *e, ran: run.Start != 0}
	if run.Stop != scheduler.ReasonNone && o.At >= run.StopAt && !o.Fault {
		o.Reason = run.Stop
	}
	if o.Fault && o.Reason != scheduler.ReasonNodeLost {
		o.Reason = scheduler.ReasonFault
	}
	o.Fault = o.Reason == scheduler.ReasonFault || o.Reason == scheduler.ReasonNodeLost
	o.again = o.Fault || o.Reason == scheduler.ReasonDrained || o.Reason == scheduler.ReasonNoRoom
	return o
}

// exitCode is what a shell would make of it.
func (o outcome) exitCode() int32 {
	switch o.Reason {
	case scheduler.ReasonExited, scheduler.ReasonStartFailed:
		return o.Exit
	case scheduler.ReasonTimeLimit, scheduler.ReasonMoneyEnd, scheduler.ReasonPauseGrace, scheduler.ReasonMaxTotal:
		return 124
	case scheduler.ReasonOutOfMemory:
		return 128 + 9
	case scheduler.ReasonFault, scheduler.ReasonNodeLost, scheduler.ReasonDrained, scheduler.ReasonFaultsTwice, scheduler.ReasonNoRoom:
		return 125
	}
	switch {
	case o.Signal != 0:
		return 128 + o.Signal
	case o.ran: // it made of the signal what it liked
		return o.Exit
	}
	return 128 + sigterm
}

// endRun ends one attempt of a task: its time is charged or voided, its place is given back, and
// the task is done, failed or waits again. With the last task the job ends.
func (tx *Tx) endRun(id scheduler.RunID, o outcome) error {
	run := *tx.runs.must(id)
	if o.again && stored(&run) {
		tx.letGo(&run, o)
		return nil
	}
	j, err := tx.openJob(run.Job)
	if err != nil {
		return fmt.Errorf("end run %d: %w", id, err)
	}
	left, err := j.chargeRun(&run, o)
	if err != nil {
		return fmt.Errorf("end run %d: %w", id, err)
	}
	j.job.Open--
	j.job.Slots--
	j.leaveNode(&run, o)
	j.afterRun(&run, &o)
	j.closeRun(&run, o, left.billed)
	return j.goOn()
}

// closeRun puts what a run left in its place. One that is with the servers alone has left what it had printed.
func (j *jobTx) closeRun(run *scheduler.Run, o outcome, billed funding.Millis) {
	node := run.Node()
	if run.Parked != nil && run.Parked.Stored != nil && o.Stdout.Size+o.Stderr.Size == 0 {
		o.Stdout, o.Stderr, node = run.Parked.Stored.Stdout, run.Parked.Stored.Stderr, run.Parked.Stored.Node
	}
	j.runs.del(run.ID)
	j.files.put(run.ID, &RunFiles{
		Run: run.ID, Job: run.Job, Task: run.Task, Node: node, Ended: o.At, Reason: o.Reason, Exit: o.Exit, Signal: o.Signal,
		Text: o.Text, Stdout: o.Stdout, Stderr: o.Stderr, Outputs: o.Outputs, Placed: run.Placed, Started: run.Start,
		Billed: run.Before.Billed + billed, Charged: run.Before.Charged + run.Owed, GPU: o.GPU,
	})
	ended := j.about(EventRunEnded)
	ended.Run, ended.Task, ended.Node, ended.Amount = run.ID, run.Task, node, run.Before.Charged+run.Owed
	ended.Reason, ended.Exit = o.Reason, o.Exit
	j.emit(ended)
}

// metered is a run's time and what it comes to.
type metered struct {
	charge
	billed funding.Millis
}

// meter computes what a run owes up to a time beyond what is settled: from its first process on,
// without what it was frozen for, the whole rounded once. With its end comes the minimum. Nothing
// before the time up to which its executor was heard is metered again.
func (j *jobTx) meter(run *scheduler.Run, to funding.Millis, frozen []Span, ends bool) (metered, error) {
	var m metered
	if run.Start == 0 {
		return m, nil
	}
	begun := run.Begun()
	if run.Until != 0 { // what lies after the limit is never charged
		to = min(to, run.Until)
	}
	to = max(to, begun, run.Heard)
	stretch, away, err := j.stoodStill(run, frozen, to)
	if err != nil {
		return m, err
	}
	from, err := run.From.Add(stretch)
	if err != nil {
		return m, err
	}
	total, err := funding.Owed(run.Weight, from, j.indexAt(to, run.Pool))
	if err != nil {
		return m, err
	}
	m.billed = to - begun - run.Frozen - away
	// A run under notice no longer holds the price down, and still pays no more than its bid.
	most, err := run.Bid.Cost(run.Weight, m.billed)
	if err != nil {
		return m, err
	}
	total = min(total, most)
	m.usage = max(0, total-run.Owed)
	if short := scheduler.TimeMin - run.Before.Billed - m.billed; ends && short > 0 {
		series, _ := j.series.get(run.Pool)
		if m.minimum, err = min(series.PriceAt(to), run.Bid).Cost(run.Weight, short); err != nil {
			return m, err
		}
		m.billed += short
	}
	return m, nil
}

// chargeRun settles a run that ends and gives back what was held for it and not used.
func (j *jobTx) chargeRun(run *scheduler.Run, o outcome) (m metered, err error) {
	if run.Parked != nil {
		return m, j.chargeParked(run, o)
	}
	if !o.again && o.Reason != scheduler.ReasonStartFailed { // nothing of the job's has run, also where a machine was up for it
		if m, err = j.meter(run, o.At, o.Stopped, true); err != nil {
			return m, err
		}
		j.job.Billed += m.billed
		j.job.CPUMillis += o.CPUMillis
		j.job.PeakBytes = max(j.job.PeakBytes, o.PeakBytes)
		j.job.GPUs = j.job.GPUs.Plus(o.GPU, m.billed)
	}
	if j.job.Mode == funding.Stream && run.Start != 0 {
		posted, err := j.leaveStream(run, m.charge)
		run.Owed += posted
		return m, err
	}
	posted, err := j.settle(run, m.charge, run.Hold)
	if err != nil {
		return m, err
	}
	if j.pot, err = j.pot.Release(run.Hold - posted); err != nil {
		return m, err
	}
	if j.job.Mode == funding.Safe {
		j.job.Hold -= run.Hold
	}
	run.Owed += posted
	return m, nil
}

// leaveNode gives a run's place back, and counts what was the node's fault.
func (tx *Tx) leaveNode(run *scheduler.Run, o outcome) {
	shape := tx.shapes.must(run.Shape)
	for _, id := range run.Nodes {
		old, ok := tx.nodes.get(id)
		if !ok {
			continue
		}
		node := *old
		node.Used, node.Open = node.Used.Plus(takes(run, shape), -1), node.Open-1
		giveBack(&node, run.ID)
		if o.Reason == scheduler.ReasonNoRoom && shape.GPU.Asks(shape.Need) {
			refuseShape(&node, shape.ID, tx.at+noRoomFor)
		}
		if o.Reason == scheduler.ReasonFault {
			node.Faults++
			if node.Faults >= nodeFaultsMax && (node.State == scheduler.NodeUp || node.State == scheduler.NodeDraining) {
				node.State, node.Reason = scheduler.NodeQuarantined, fmt.Sprintf("%d faults", node.Faults)
				tx.emit(Event{Kind: EventQuarantined, Node: id, Pool: node.Pool, Text: node.Reason})
			}
		}
		tx.nodes.put(id, &node)
	}
}

// afterRun says what becomes of the task: done, failed, or waiting again.
func (j *jobTx) afterRun(run *scheduler.Run, o *outcome) {
	key := jobTask{Job: run.Job, Task: run.Task}
	if o.Fault {
		met, _ := j.faults.get(key)
		if node := run.Node(); !slices.Contains(met, node) {
			met = append(slices.Clip(met), node)
			j.faults.put(key, met)
			if !slices.Contains(j.job.Faults, node) && len(j.job.Faults) < faultsKept {
				j.job.Faults = append(slices.Clip(j.job.Faults), node)
			}
		}
		if len(met) >= 2 {
			o.Reason, o.again = scheduler.ReasonFaultsTwice, false
		}
	}
	if o.again && j.job.Reason == scheduler.ReasonNone {
		i, _ := slices.BinarySearch(j.job.Requeued, run.Task)
		j.job.Requeued = slices.Insert(slices.Clone(j.job.Requeued), i, run.Task)
		queued := j.about(EventQueued)
		queued.Task, queued.Reason = run.Task, o.Reason
		j.emit(queued)
		return
	}
	if j.faults.has(key) {
		j.faults.del(key)
	}
	if j.job.Tasks.First == j.job.Tasks.Last && (j.job.Reason == scheduler.ReasonNone || !o.again) {
		j.job.Reason = o.Reason // also where it had ended by itself when it was to be stopped
	}
	if o.Reason == scheduler.ReasonExited && o.Exit == 0 {
		j.job.Done++
		return
	}
	if j.job.Exit == 0 {
		j.job.Exit = o.exitCode()
	}
	j.job.Failed++
}
