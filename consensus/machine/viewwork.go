package machine

import (
	"math"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Job finds a job.
func (v *View) Job(id scheduler.JobID) (*scheduler.Job, bool) { return v.jobs.get(id) }

// Jobs visits the jobs in memory from a number on, ascending.
func (v *View) Jobs(from scheduler.JobID, visit func(*scheduler.Job) bool) {
	v.jobs.ascend(from, func(_ scheduler.JobID, job *scheduler.Job) bool { return visit(job) })
}

// JobCount is how many jobs are in memory.
func (v *View) JobCount() int { return v.jobs.len() }

// Bill is what a job was charged so far.
func (v *View) Bill(id scheduler.JobID) (*funding.Bill, bool) { return v.bills.get(id) }

// Run finds a run.
func (v *View) Run(id scheduler.RunID) (*scheduler.Run, bool) { return v.runs.get(id) }

// RunsOf visits a job's runs in the order of their placement.
func (v *View) RunsOf(job scheduler.JobID, visit func(*scheduler.Run) bool) {
	v.jobRuns.ascend(jobRun{job: job}, func(key jobRun, _ none) bool {
		if key.job != job {
			return false
		}
		run, ok := v.runs.get(key.run)
		return !ok || visit(run)
	})
}

// RunsOfNode visits the runs that are placed on a node and have not ended.
func (v *View) RunsOfNode(node scheduler.NodeID, visit func(*scheduler.Run) bool) {
	v.nodeRuns.ascend(nodeRun{node: node}, func(key nodeRun, _ none) bool {
		if key.node != node {
			return false
		}
		run, ok := v.runs.get(key.run)
		return !ok || visit(run)
	})
}

// Files is what an ended run left.
func (v *View) Files(id scheduler.RunID) (*RunFiles, bool) { return v.files.get(id) }

// FilesOf visits what a job's runs left, in the order of their placement.
func (v *View) FilesOf(job scheduler.JobID, visit func(*RunFiles) bool) {
	v.jobFiles.ascend(jobRun{job: job}, func(key jobRun, _ none) bool {
		if key.job != job {
			return false
		}
		files, ok := v.files.get(key.run)
		return !ok || visit(files)
	})
}

// Pool finds a pool.
func (v *View) Pool(id scheduler.PoolID) (*scheduler.Pool, bool) { return v.pools.get(id) }

// PoolByName finds a pool.
func (v *View) PoolByName(name string) (*scheduler.Pool, bool) {
	id, ok := v.poolNames.get(name)
	if !ok {
		return nil, false
	}
	return v.pools.get(id)
}

// Pools lists the pools in the order of their numbers.
func (v *View) Pools() []*scheduler.Pool { return list(v.pools) }

// Series is a pool's prices back to its oldest open run.
func (v *View) Series(pool scheduler.PoolID) (funding.Series, bool) { return v.series.get(pool) }

// Node finds a node.
func (v *View) Node(id scheduler.NodeID) (*scheduler.Node, bool) { return v.nodes.get(id) }

// NodeByName finds a node.
func (v *View) NodeByName(name string) (*scheduler.Node, bool) {
	id, ok := v.nodeNames.get(name)
	if !ok {
		return nil, false
	}
	return v.nodes.get(id)
}

// Nodes lists the nodes in the order of their numbers.
func (v *View) Nodes() []*scheduler.Node { return list(v.nodes) }

// Shape finds a shape.
func (v *View) Shape(id scheduler.ShapeID) (*scheduler.Shape, bool) { return v.shapes.get(id) }

// Stream is what a pot holds for its stream runs in a pool.
func (v *View) Stream(id StreamID) (*funding.StreamHold, bool) { return v.streams.get(id) }

// StreamsCrossed visits the stream holds of a pool whose line lies at or before an index, those
// that run out first before the others.
func (v *View) StreamsCrossed(pool scheduler.PoolID, now funding.Index, visit func(StreamID, funding.Index) bool) {
	v.streamLines.ascend(streamLine{pool: pool}, func(line streamLine, _ none) bool {
		if line.pool != pool || line.index.Cmp(now) > 0 {
			return false
		}
		return visit(StreamID{Pot: line.pot, Pool: pool}, line.index)
	})
}

// StreamsOf visits a pot's stream holds.
func (v *View) StreamsOf(pot funding.PotID, visit func(*funding.StreamHold) bool) {
	v.streams.ascend(StreamID{Pot: pot}, func(id StreamID, s *funding.StreamHold) bool {
		return id.Pot == pot && visit(s)
	})
}

// JobsOfPot visits the jobs that a shared pot pays for; a pot of one job names it itself.
func (v *View) JobsOfPot(pot funding.PotID, visit func(*scheduler.Job) bool) {
	v.potJobs.ascend(potJob{pot: pot}, func(key potJob, _ none) bool {
		if key.pot != pot {
			return false
		}
		job, ok := v.jobs.get(key.job)
		return !ok || visit(job)
	})
}

// list is a small table as a slice.
func list[K, V any](r rows[K, V]) []V {
	all := make([]V, 0, min(r.len(), math.MaxInt16))
	r.tree.Scan(func(p pair[K, V]) bool {
		all = append(all, p.value)
		return true
	})
	return all
}
