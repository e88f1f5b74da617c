package machine

import (
	"fmt"
	"slices"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// CheckWork holds jobs, runs, nodes and streams against each other (I5, I6, I8, I9): what is
// reserved is what work says it has reserved, what nodes say is used is used, a stream is the sum
// of its runs, and none runs on past its money by more than a tick. Together with [View.Check] it
// looks at everything; it is for tests and the simulator.
func (v *View) CheckWork(tick funding.Millis) error {
	c := work{View: v, open: make(map[scheduler.JobID]int32), held: make(map[scheduler.JobID]funding.Amount),
		used: make(map[scheduler.NodeID]scheduler.Node), streams: make(map[StreamID]funding.StreamHold)}
	for _, check := range []func() error{func() error { return c.runsWell(tick) }, c.jobsWell, c.nodesWell, func() error { return c.streamsWell(tick) }} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// work adds up what runs say, to be compared with what the other records say.
type work struct {
	*View
	open    map[scheduler.JobID]int32
	held    map[scheduler.JobID]funding.Amount
	used    map[scheduler.NodeID]scheduler.Node
	streams map[StreamID]funding.StreamHold
}

func (c *work) runsWell(tick funding.Millis) (wrong error) {
	c.runs.ascend(0, func(id scheduler.RunID, run *scheduler.Run) bool {
		job, ok := c.jobs.get(run.Job)
		shape, known := c.shapes.get(run.Shape)
		switch {
		case !ok || !known:
			wrong = violation("I6", "run %d is of job %d, which is not there", id, run.Job)
		case run.Start != 0 && (run.Start < run.Placed || run.Start > c.meta.At):
			wrong = violation("I8", "run %d was placed at %d and started at %d, and it is %d", id, run.Placed, run.Start, c.meta.At)
		case run.Settled > c.meta.At || run.Owed < 0 || run.Hold < 0:
			wrong = violation("I8", "run %d is settled up to %d, and it is %d; it owes %d and holds %d", id, run.Settled, c.meta.At, run.Owed, run.Hold)
		case (run.State == scheduler.RunSuspended) != (run.Parked != nil) && run.State != scheduler.RunStopping:
			wrong = violation("I8", "run %d is %v, and how it is kept: %+v", id, run.State, run.Parked)
		case run.State == scheduler.RunSuspended && c.meta.At-run.Parked.Until > tick:
			wrong = violation("I9", "run %d is kept at %d, it was paid up to %d", id, c.meta.At, run.Parked.Until)
		case job.State == scheduler.JobDone:
			wrong = violation("I6", "run %d is open and job %d has ended", id, run.Job)
		}
		if wrong != nil {
			return false
		}
		c.open[run.Job]++
		for _, node := range run.Nodes {
			used := c.used[node]
			used.Used, used.Open = used.Used.Plus(takes(run, shape), 1), used.Open+1
			if shape.GPU.Asks(shape.Need) {
				used.Takes = append(used.Takes, scheduler.Take{Run: id, Kind: shape.GPU.Kind, Profile: shape.GPU.Profile})
			}
			c.used[node] = used
		}
		if job.Mode == funding.Safe {
			c.held[run.Job] += run.Hold
			return true
		}
		if run.Start != 0 && run.Parked == nil {
			wrong = c.addToStream(StreamID{Pot: job.Pot, Pool: run.Pool}, run)
		}
		return wrong == nil
	})
	return wrong
}

func (c *work) addToStream(id StreamID, run *scheduler.Run) error {
	sum, err := c.streams[id].Start(run.Weight, run.From, 0)
	if err != nil {
		return err
	}
	if sum, err = sum.Settle(run.Owed); err != nil {
		return err
	}
	c.streams[id] = sum
	return nil
}

func (c *work) jobsWell() (wrong error) {
	jobs := make(map[funding.PotID]int32)
	shapes := make(map[scheduler.ShapeID]bool)
	c.jobs.ascend(0, func(id scheduler.JobID, job *scheduler.Job) bool {
		bill, ok := c.bills.get(id)
		if !ok {
			bill = new(funding.Bill)
		}
		done := job.State == scheduler.JobDone
		if !done {
			jobs[job.Pot]++
		}
		shapes[job.Shape] = true
		tasks := int64(job.Tasks.Last) - int64(job.Tasks.First) + 1
		switch {
		case job.Open != c.open[id]:
			wrong = violation("I5", "job %d says that %d runs are open, there are %d", id, job.Open, c.open[id])
		case job.Hold < c.held[id] || job.Slots < job.Open:
			wrong = violation("I5", "job %d holds %d for %d slots, its %d runs %d", id, job.Hold, job.Slots, job.Open, c.held[id])
		case done && (job.Hold != 0 || job.Slots != 0 || job.Waiting() != 0):
			wrong = violation("I5", "job %d has ended and holds %d for %d slots", id, job.Hold, job.Slots)
		case int64(job.Open)+int64(job.Waiting())+int64(job.Done)+int64(job.Failed) > tasks:
			wrong = violation("I8", "job %d has %d tasks; %d run, %d wait, %d are done, %d failed", id, tasks, job.Open, job.Waiting(), job.Done, job.Failed)
		case job.AtOnce > 0 && job.Open > job.AtOnce:
			wrong = violation("I8", "job %d may run %d tasks at once and runs %d", id, job.AtOnce, job.Open)
		case job.Charged != bill.Charged():
			wrong = violation("I6", "job %d was charged %d, its bill has %d", id, job.Charged, bill.Charged())
		case job.MaxTotal > 0 && job.Charged-bill.Rounding > job.MaxTotal:
			wrong = violation("I6", "job %d may cost %d and was charged %d", id, job.MaxTotal, job.Charged)
		default:
			wrong = c.billWell(job, bill)
		}
		return wrong == nil
	})
	if wrong != nil {
		return wrong
	}
	if n := c.shapes.len(); n != len(shapes) {
		return violation("I5", "there are %d shapes, jobs are of %d", n, len(shapes))
	}
	c.pots.ascend(0, func(id funding.PotID, pot *funding.Pot) bool {
		if pot.Jobs != jobs[id] {
			wrong = violation("I5", "pot %d says that %d jobs are open, there are %d", id, pot.Jobs, jobs[id])
		}
		return wrong == nil
	})
	return wrong
}

// billWell checks that a job's money went where its lines say, per deposit and in total (I6, I10).
func (c *work) billWell(job *scheduler.Job, bill *funding.Bill) error {
	if err := funding.CheckDraws(bill.Charged()-bill.Rounding, bill.Draws); err != nil {
		return fmt.Errorf("job %d: %w", job.ID, err)
	}
	if job.State != scheduler.JobDone {
		return nil // its receipt is not final
	}
	if receipt, ok := c.Receipt(job.ID); ok {
		return receipt.Check()
	}
	return nil
}

func (c *work) nodesWell() (wrong error) {
	c.nodes.ascend(0, func(id scheduler.NodeID, node *scheduler.Node) bool {
		if used := c.used[id]; node.Used != used.Used || node.Open != used.Open {
			wrong = violation("I8", "node %d says that %d runs use %+v, its %d runs use %+v", id, node.Open, node.Used, used.Open, used.Used)
		}
		if wrong == nil {
			wrong = c.cardsWell(node)
		}
		return wrong == nil
	})
	return wrong
}

// cardsWell says that no card of a node is sold twice, and that every run that asked for GPUs there has some, and no other.
func (c *work) cardsWell(node *scheduler.Node) error {
	if err := node.CheckCards(); err != nil {
		return violation("I8", "node %d: %v", node.ID, err)
	}
	want := c.used[node.ID].Takes
	if len(node.Cards) == 0 {
		want = nil
	}
	same := func(a, b scheduler.Take) bool { return a.Run == b.Run && a.Kind == b.Kind && a.Profile == b.Profile }
	if !slices.EqualFunc(want, node.Takes, same) {
		return violation("I8", "node %d has given GPUs for %+v, its runs ask for %+v", node.ID, node.Takes, want)
	}
	for _, take := range node.Takes {
		run, _ := c.runs.get(take.Run)
		shape, _ := c.shapes.get(run.Shape)
		if n := max(1, shape.Need.GPUs); len(take.Cards) != 0 && len(take.Cards) != int(n) {
			return violation("I8", "run %d has %d GPUs of %d", take.Run, len(take.Cards), n)
		}
	}
	return nil
}

func (c *work) streamsWell(tick funding.Millis) (wrong error) {
	found := 0
	c.View.streams.ascend(StreamID{}, func(id StreamID, hold *funding.StreamHold) bool {
		sum := c.streams[id]
		found++
		series, _ := c.series.get(id.Pool)
		switch {
		case sum.Weight != hold.Weight || sum.Offset != hold.Offset || sum.Runs != hold.Runs:
			wrong = violation("I11", "the stream of pot %d accrues %+v, its runs %+v", id.Pot, *hold, sum)
		case hold.Held < 0 || hold.Reserve < 0:
			wrong = violation("I2", "the stream of pot %d holds %d with %d in reserve", id.Pot, hold.Held, hold.Reserve)
		default:
			wrong = funding.CheckExhaustion(series, *hold, c.meta.At, tick)
		}
		return wrong == nil
	})
	if wrong == nil && found != len(c.streams) {
		wrong = violation("I5", "there are %d streams, runs belong to %d", found, len(c.streams))
	}
	return wrong
}

// CheckGrowth holds a view against an earlier one (I12, I16): spent coins stay spent and signed
// outputs signed while their keyset lives, numbers and time do not go back.
func (v *View) CheckGrowth(earlier *View) (wrong error) {
	if v.meta.Index < earlier.meta.Index || v.meta.At < earlier.meta.At || v.meta.Seq < earlier.meta.Seq || v.meta.Job < earlier.meta.Job {
		return violation("I12", "the state went back from entry %d at %d to %d at %d", earlier.meta.Index, earlier.meta.At, v.meta.Index, v.meta.At)
	}
	alive := func(number mint.KeysetNumber) bool {
		record, ok := v.keysets.get(number)
		return ok && record.StateAt(int64(v.meta.At)) != mint.KeysetClosed
	}
	earlier.spent.ascend(cashu.SpentKey{}, func(key cashu.SpentKey, number mint.KeysetNumber) bool {
		if alive(number) && !v.IsSpent(key) {
			wrong = violation("I16", "a coin of keyset %d is no longer spent", number)
		}
		return wrong == nil
	})
	earlier.outputs.ascend(cashu.Point{}, func(point cashu.Point, before mint.Output) bool {
		if before.Status == mint.OutputSigned && alive(before.Keyset) && v.OutputAt(point) != before {
			wrong = violation("I16", "an output that was signed for %d is %+v now", before.Amount(), v.OutputAt(point))
		}
		return wrong == nil
	})
	return wrong
}

func violation(invariant, format string, args ...any) error {
	return &funding.Violation{Invariant: invariant, Found: fmt.Sprintf(format, args...)}
}
