package machine

import (
	"slices"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Place starts tasks on nodes, one batch. Each decision is checked again: one that no longer
// holds is refused by itself and the others go on.
type Place struct {
	Decisions []Placement `cbor:"1,keyasint"`
}

// Placement is the decision to start tasks First to First+Count-1 of a job, each on Nodes.
type Placement struct {
	Job   scheduler.JobID    `cbor:"1,keyasint"`
	First int32              `cbor:"2,keyasint,omitempty"`
	Count int32              `cbor:"3,keyasint,omitempty"` // zero means one
	Nodes []scheduler.NodeID `cbor:"4,keyasint"`           // one, until gangs exist
	Firm  bool               `cbor:"5,keyasint,omitempty"` // refused until firm runs exist
	Rate  funding.Rate       `cbor:"6,keyasint,omitempty"` // a firm run's
}

// PlaceAnswer lists what was started, in the batch's order, and which decisions no longer held.
type PlaceAnswer struct {
	Runs    []scheduler.RunID `cbor:"1,keyasint,omitempty"`
	Refused []RefusedItem     `cbor:"2,keyasint,omitempty"`
}

// RefusedItem names one part of a batch that was refused by itself.
type RefusedItem struct {
	Item int32 `cbor:"1,keyasint"` // its place in the batch, from zero
	Code Code  `cbor:"2,keyasint"`
}

// Kind is part of [Command].
func (Place) Kind() Kind { return KindPlace }

// PlaceMax bounds the tasks that one entry places.
const PlaceMax = 65_536

func (c Place) apply(tx *Tx, at funding.Millis) (any, error) {
	var answer PlaceAnswer
	total := 0
	for i, decision := range c.Decisions {
		count := max(decision.Count, 1)
		if total += int(count); total > PlaceMax || count > PlaceMax {
			return nil, refuse(CodeLimit, "at most %d tasks are placed at once", PlaceMax)
		}
		for k := range count {
			run, code, err := tx.placeTask(decision, decision.First+k, at)
			if err != nil {
				return nil, err
			}
			if code != OK {
				answer.Refused = append(answer.Refused, RefusedItem{Item: int32(i), Code: code})
				break
			}
			answer.Runs = append(answer.Runs, run)
		}
	}
	return answer, nil
}

// placeTask starts one task on a node, if that may still be: the decision was made on an older view.
func (tx *Tx) placeTask(d Placement, task int32, at funding.Millis) (scheduler.RunID, Code, error) {
	if len(d.Nodes) != 1 || d.Firm {
		return 0, CodeInvalid, nil
	}
	old, ok := tx.jobs.get(d.Job)
	if !ok {
		return 0, CodeJobUnknown, nil
	}
	shape := tx.shapes.must(old.Shape)
	pool := tx.pools.must(old.Pool)
	node, ok := tx.nodes.get(d.Nodes[0])
	switch {
	case !ok:
		return 0, CodeNodeUnknown, nil
	case old.Startable() == 0 || node.State != scheduler.NodeUp || node.Pool != old.Pool:
		return 0, CodeStale, nil
	case !shape.Need.Within(node.Free()) || !node.Drives(pool, shape.Driver) || !node.Offers(pool, shape):
		return 0, CodeStale, nil
	case old.Effective() < pool.Floor:
		return 0, CodeStale, nil
	}
	take, ok := scheduler.TakeCards(pool, node, shape, tx.meta.Run+1)
	if !ok {
		return 0, CodeStale, nil
	}
	job := *old
	if !takeTask(&job, task) {
		return 0, CodeStale, nil
	}
	run, err := tx.newRun(&job, task, node.ID, at)
	if err != nil {
		return 0, OK, err
	}
	job.Open++
	tx.jobs.put(job.ID, &job)
	used := *node
	used.Used, used.Open = used.Used.Plus(shape.Need, 1), used.Open+1
	if take.Cards != nil {
		used.Takes = append(slices.Clip(used.Takes), take)
	}
	tx.nodes.put(used.ID, &used)
	tx.emit(Event{Kind: EventPlaced, Job: job.ID, Task: task, Run: run, Node: node.ID, Pool: job.Pool, Rate: job.Effective()})
	return run, OK, tx.fallTo(pool, job.Effective())
}

// fallTo lowers a pool's price for work that bids less: it passes a blocked head, which has called for that price. Nobody pays more
// than its bid, so the price falls with it at once.
func (tx *Tx) fallTo(pool *scheduler.Pool, bid funding.Rate) error {
	if bid >= pool.Price {
		return nil
	}
	return tx.setPrice(*pool, bid, tx.at)
}

// takeTask takes a task out of those that wait: one that waits again, or the next of the range.
func takeTask(job *scheduler.Job, task int32) bool {
	if i, found := slices.BinarySearch(job.Requeued, task); found {
		job.Requeued = slices.Delete(slices.Clone(job.Requeued), i, i+1)
		return true
	}
	if task != job.Next || task > job.Tasks.Last {
		return false
	}
	job.Next++
	return true
}

// newRun makes the run and hands it its part of the job's hold. A stream's part leaves the job:
// once the run has started, it belongs to what the pot holds for all its runs.
func (tx *Tx) newRun(job *scheduler.Job, task int32, node scheduler.NodeID, at funding.Millis) (scheduler.RunID, error) {
	tx.meta.Run++
	run := scheduler.Run{
		ID: tx.meta.Run, Job: job.ID, Task: task, Nodes: []scheduler.NodeID{node}, Pool: job.Pool, Shape: job.Shape,
		Weight: job.Weight, Bid: job.Effective(), State: scheduler.RunPlaced, Placed: at,
	}
	if job.Mode == funding.Safe {
		each, err := job.Bid.Cost(job.Weight, job.TimeLimit)
		if err != nil {
			return 0, err
		}
		run.Hold = each
	} else {
		run.Hold = job.Hold / funding.Amount(job.Slots-job.Open)
		job.Hold -= run.Hold
	}
	tx.runs.put(run.ID, &run)
	return run.ID, nil
}
