package machine

import (
	"github.com/coinop/coinop/scheduler"
)

// movesMax bounds the word by which a driver says where its tasks may go on.
const movesMax = 64

func storedPossible(s *scheduler.Stored) bool {
	return s == nil || s.Size > 0 && s.Digest != [32]byte{} && s.Moves != "" && len(s.Moves) <= movesMax && s.Left == 0 && s.Node == 0 &&
		s.Stdout.Size >= 0 && s.Stderr.Size >= 0
}

// stored says whether the servers have all that a suspended run is. Whatever becomes of its node, it is still there.
func stored(run *scheduler.Run) bool {
	return run.State == scheduler.RunSuspended && run.Parked.Stored != nil
}

// storeRun notes that the servers have what a suspended run was.
func (tx *Tx) storeRun(old *scheduler.Run, s scheduler.Stored) {
	run, parked := *old, *old.Parked
	s.Node = run.Node()
	parked.Stored, run.Parked = &s, &parked
	tx.runs.put(run.ID, &run)
	tx.emitStored(&run, scheduler.ReasonNone)
}

func (tx *Tx) emitStored(run *scheduler.Run, why scheduler.Reason) {
	job := tx.jobs.must(run.Job)
	tx.emit(Event{Kind: EventStored, Job: run.Job, Task: run.Task, Run: run.ID, Node: run.Node(), Pot: job.Pot, Pool: run.Pool, Reason: why})
}

// letGo leaves a suspended run with the servers alone: its node keeps nothing of it.
func (tx *Tx) letGo(old *scheduler.Run, o outcome) {
	run := *old
	tx.leaveNode(&run, o)
	tx.emitStored(&run, o.Reason)
	run.Nodes = nil
	tx.runs.put(run.ID, &run)
}

// endAway ends a run that is with the servers alone, so that no executor tells its end.
func (tx *Tx) endAway(run *scheduler.Run) (bool, error) {
	if tx.at < run.KillAt {
		return false, nil
	}
	return true, tx.endRun(run.ID, outcome{End: End{At: tx.at, Reason: run.Stop}})
}

// mayMove says whether a suspended run can go on on a node that is not its own.
func mayMove(run *scheduler.Run, node *scheduler.Node, shape *scheduler.Shape, pool *scheduler.Pool) bool {
	return stored(run) && run.Parked.Ready && node.ID != run.Node() && node.State == scheduler.NodeUp && node.Pool == pool.ID && run.Bid >= pool.Floor &&
		node.Drives(pool, shape.Driver) && node.Offers(pool, shape) && node.Moves(shape.Driver) == run.Parked.Stored.Moves && shape.Need.Within(node.Free())
}

// move lets a suspended run go on on another node, as a run of its own: it begins when it has been brought back there, and is
// charged from then on.
func (tx *Tx) move(m MoveRun) (bool, error) {
	old, ok := tx.runs.get(m.Run)
	node, there := tx.nodes.get(m.Node)
	if !ok || !there {
		return false, nil
	}
	shape, pool := tx.shapes.must(old.Shape), tx.pools.must(old.Pool)
	if !mayMove(old, node, shape, pool) {
		return false, nil
	}
	j, run, err := tx.rouse(old)
	if j == nil || err != nil {
		return false, err
	}
	tx.meta.Run++
	next := scheduler.Run{
		ID: tx.meta.Run, Job: run.Job, Task: run.Task, Nodes: []scheduler.NodeID{node.ID}, Pool: run.Pool, Shape: run.Shape,
		Weight: run.Weight, Bid: run.Bid, State: scheduler.RunPlaced, Placed: tx.at, Hold: run.Hold,
	}
	from := *run.Parked.Stored
	from.Left, next.Stored = run.Parked.Left, &from
	run.Hold = 0
	tx.leaveNode(&run, outcome{})
	j.closeRun(&run, outcome{End: End{At: tx.at, Reason: scheduler.ReasonMoved}}, 0)
	tx.runs.put(next.ID, &next)
	taken := *tx.nodes.must(node.ID)
	taken.Used, taken.Open = taken.Used.Plus(shape.Need, 1), taken.Open+1
	tx.nodes.put(taken.ID, &taken)
	j.job.State = scheduler.JobRunning
	j.save()
	tx.emit(Event{Kind: EventPlaced, Job: next.Job, Task: next.Task, Run: next.ID, Node: node.ID, Pool: next.Pool, Rate: next.Bid})
	return true, tx.fallTo(pool, next.Bid)
}
