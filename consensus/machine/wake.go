package machine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// mayWake says whether a suspended run can go on now: it has money, and its node has room and takes work.
func mayWake(run *scheduler.Run, node *scheduler.Node, shape *scheduler.Shape, pool *scheduler.Pool) bool {
	if run.State != scheduler.RunSuspended || !run.Parked.Ready || node.State != scheduler.NodeUp || node.Pool != pool.ID || run.Bid < pool.Floor {
		return false
	}
	without := *node
	without.Used = node.Used.Plus(takes(run, shape), -1)
	return shape.Need.Within(without.Free())
}

// wake lets a suspended run go on: it takes its place again, and a new stretch begins.
func (tx *Tx) wake(id scheduler.RunID) (bool, error) {
	old, ok := tx.runs.get(id)
	if !ok {
		return false, nil
	}
	shape, pool := tx.shapes.must(old.Shape), tx.pools.must(old.Pool)
	if !mayWake(old, tx.nodes.must(old.Nodes[0]), shape, pool) {
		return false, nil
	}
	j, err := tx.openJob(old.Job)
	if err != nil {
		return false, err
	}
	if j.stream().Paused != 0 {
		return false, nil // with its siblings, or not at all
	}
	run := *old
	if err := j.settleParked(&run, tx.at); err != nil {
		return false, fmt.Errorf("wake run %d: %w", id, err)
	}
	if run.Parked.Left != 0 {
		run.Until = tx.at + run.Parked.Left
	}
	run.State, run.Parked, run.Since, run.Settled, run.Heard = scheduler.RunRunning, nil, tx.at, tx.at, tx.at
	run.From = j.indexAt(tx.at, run.Pool)
	if err := j.startInStream(&run); err != nil {
		return false, fmt.Errorf("wake run %d: %w", id, err)
	}
	j.moveOn(&run, shape.Need.Keeps(), shape.Need)
	j.job.State = scheduler.JobRunning
	tx.runs.put(id, &run)
	j.save()
	resumed := j.about(EventResumed)
	resumed.Run, resumed.Task, resumed.Node = id, run.Task, run.Nodes[0]
	tx.emit(resumed)
	if run.Bid < pool.Price { // as where work of a lower bid is placed: nobody pays more than its bid
		return true, tx.setPrice(*pool, run.Bid, tx.at)
	}
	return true, nil
}

// WakeDue lists suspended runs that go on before anything is placed: those that there is money and room for, the best bid
// first. At equal bid they go before work that waits; work that bids more for the same node goes before them.
func (v *View) WakeDue(at funding.Millis, limit int) []scheduler.RunID {
	ready := slices.DeleteFunc(v.ready(), func(run *scheduler.Run) bool {
		node, ok := v.nodes.get(run.Nodes[0])
		return !ok || !v.mayWake(run, node)
	})
	if len(ready) == 0 {
		return nil
	}
	rivals := make(map[scheduler.NodeID]funding.Rate) // the best bid that would be placed there; looked up, never iterated
	for _, d := range scheduler.Place(v.scheduler, at, limit) {
		if job, ok := v.jobs.get(d.Job); ok {
			rivals[d.Node] = max(rivals[d.Node], job.Effective())
		}
	}
	used := make(map[scheduler.NodeID]scheduler.Resources) // with those that are about to go on; looked up, never iterated
	var due []scheduler.RunID
	for _, run := range ready {
		old, _ := v.nodes.get(run.Nodes[0])
		node := *old
		if taken, ok := used[node.ID]; ok {
			node.Used = taken
		}
		if len(due) == limit || run.Bid < rivals[node.ID] || !v.mayWake(run, &node) {
			continue
		}
		shape, _ := v.shapes.get(run.Shape)
		used[node.ID] = node.Used.Plus(takes(run, shape), -1).Plus(shape.Need, 1)
		due = append(due, run.ID)
	}
	return due
}

func (v *View) mayWake(run *scheduler.Run, node *scheduler.Node) bool {
	shape, _ := v.shapes.get(run.Shape)
	pool, _ := v.pools.get(run.Pool)
	return mayWake(run, node, shape, pool)
}

// ready lists the suspended runs that have money to go on, the best bid first, then the oldest.
func (v *View) ready() []*scheduler.Run {
	var runs []*scheduler.Run
	v.parked.ascend(potRun{}, func(key potRun, _ none) bool {
		run, ok := v.runs.get(key.run)
		if !ok || !run.Parked.Ready {
			return true
		}
		if job, ok := v.jobs.get(run.Job); ok {
			if hold, ok := v.streams.get(StreamID{Pot: job.Pot, Pool: run.Pool}); ok && hold.Paused != 0 {
				return true // with its siblings
			}
		}
		runs = append(runs, run)
		return true
	})
	slices.SortFunc(runs, func(a, b *scheduler.Run) int { return cmp.Or(cmp.Compare(b.Bid, a.Bid), cmp.Compare(a.ID, b.ID)) })
	return runs
}
