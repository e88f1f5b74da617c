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

// rouse takes out a suspended run that is to go on, its keep settled, and its job; no job: it is paused with its siblings, and goes
// on with them or not at all.
func (tx *Tx) rouse(old *scheduler.Run) (*jobTx, scheduler.Run, error) {
	run := *old
	j, err := tx.openJob(run.Job)
	if err != nil || j.stream().Paused != 0 {
		return nil, run, err
	}
	if err := j.settleParked(&run, tx.at); err != nil {
		return nil, run, fmt.Errorf("let run %d go on: %w", run.ID, err)
	}
	return j, run, nil
}

// wake lets a suspended run go on: it takes its place again, and a new stretch begins.
func (tx *Tx) wake(id scheduler.RunID) (bool, error) {
	old, ok := tx.runs.get(id)
	if !ok {
		return false, nil
	}
	shape, pool := tx.shapes.must(old.Shape), tx.pools.must(old.Pool)
	if node, ok := tx.nodes.get(old.Node()); !ok || !mayWake(old, node, shape, pool) {
		return false, nil
	}
	j, run, err := tx.rouse(old)
	if j == nil || err != nil {
		return false, err
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
	resumed.Run, resumed.Task, resumed.Node = id, run.Task, run.Node()
	tx.emit(resumed)
	return true, tx.fallTo(pool, run.Bid)
}

// WakeDue says which suspended runs go on before anything is placed: those that there is money and room for, the best bid
// first, each where it lies if it can be and else on the first node that can bring it back. At equal bid they go before work that
// waits; work that bids more for the same node goes before them.
func (v *View) WakeDue(at funding.Millis, limit int) (due Pulse) {
	ready := v.ready()
	w := waking{View: v, nodes: make(map[scheduler.NodeID]*scheduler.Node)}
	if !slices.ContainsFunc(ready, func(run *scheduler.Run) bool { return w.where(run) != nil }) {
		return due
	}
	w.rivals = make(map[scheduler.NodeID]funding.Rate)
	for _, d := range scheduler.Place(v.scheduler, at, limit) {
		if job, ok := v.jobs.get(d.Job); ok {
			w.rivals[d.Node] = max(w.rivals[d.Node], job.Effective())
		}
	}
	for _, run := range ready {
		if len(due.Wake)+len(due.Move) == limit {
			break
		}
		node := w.where(run)
		if node == nil {
			continue
		}
		shape, _ := v.shapes.get(run.Shape)
		taken := *node
		if node.ID == run.Node() {
			taken.Used = taken.Used.Plus(takes(run, shape), -1)
			due.Wake = append(due.Wake, run.ID)
		} else {
			due.Move = append(due.Move, MoveRun{Run: run.ID, Node: node.ID})
		}
		taken.Used = taken.Used.Plus(shape.Need, 1)
		w.nodes[node.ID] = &taken
	}
	return due
}

// waking finds where suspended runs can go on.
type waking struct {
	*View
	nodes  map[scheduler.NodeID]*scheduler.Node // with those that are about to go on there; looked up, never iterated
	rivals map[scheduler.NodeID]funding.Rate    // the best bid that would be placed there; looked up, never iterated
	hosts  map[string][]scheduler.NodeID        // that can bring back what has moved, by pool and driver's word
}

func (w *waking) node(id scheduler.NodeID) *scheduler.Node {
	if node, ok := w.nodes[id]; ok {
		return node
	}
	node, _ := w.View.nodes.get(id)
	return node
}

// where is the node on which a run goes on; nil: none.
func (w *waking) where(run *scheduler.Run) *scheduler.Node {
	shape, _ := w.shapes.get(run.Shape)
	pool, _ := w.pools.get(run.Pool)
	if node := w.node(run.Node()); node != nil && run.Bid >= w.rivals[node.ID] && mayWake(run, node, shape, pool) {
		return node
	}
	if !stored(run) {
		return nil
	}
	for _, id := range w.hostsOf(shape, pool, run.Parked.Stored.Moves) {
		if node := w.node(id); run.Bid >= w.rivals[id] && mayMove(run, node, shape, pool) {
			return node
		}
	}
	return nil
}

// hostsOf lists the nodes whose driver can bring a run back. They are looked for once, for runs are many.
func (w *waking) hostsOf(shape *scheduler.Shape, pool *scheduler.Pool, moves string) []scheduler.NodeID {
	key := fmt.Sprint(pool.ID, " ", shape.Driver, " ", moves)
	if hosts, ok := w.hosts[key]; ok {
		return hosts
	}
	var hosts []scheduler.NodeID
	w.View.nodes.ascend(0, func(id scheduler.NodeID, node *scheduler.Node) bool {
		if node.Pool == pool.ID && node.State == scheduler.NodeUp && node.Moves(shape.Driver) == moves && node.Free().CPUMilli > 0 {
			hosts = append(hosts, id)
		}
		return true
	})
	if w.hosts == nil {
		w.hosts = make(map[string][]scheduler.NodeID)
	}
	w.hosts[key] = hosts
	return hosts
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
