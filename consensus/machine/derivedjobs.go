package machine

import (
	"cmp"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// The keys of what is derived for the loop that finds what is due.
type (
	// jobTask names a task.
	jobTask struct {
		_    struct{} `cbor:",toarray"`
		Job  scheduler.JobID
		Task int32
	}
	// streamRun is a started run that a pot's stream in a pool pays for.
	streamRun struct {
		stream StreamID
		run    scheduler.RunID
	}
	// potRun is a suspended run of a job that a pot pays for.
	potRun struct {
		pot funding.PotID
		run scheduler.RunID
	}
	// runSince is an open run at the time up to which it is settled.
	runSince struct {
		pool  scheduler.PoolID
		since funding.Millis
		run   scheduler.RunID
	}
	// runEnd is a run at the time at which its limit strikes.
	runEnd struct {
		at  funding.Millis
		run scheduler.RunID
	}
	// streamEnd is a paused stream at the time at which its grace is over.
	streamEnd struct {
		at     funding.Millis
		stream StreamID
	}
	// capLine is a stream job at the index at which it has cost all that it may ever cost.
	capLine struct {
		pool  scheduler.PoolID
		index funding.Index
		job   scheduler.JobID
	}
	// jobEnd is a finished job at the time at which it ended.
	jobEnd struct {
		at  funding.Millis
		job scheduler.JobID
	}
)

func compareTasks(a, b jobTask) int {
	return cmp.Or(cmp.Compare(a.Job, b.Job), cmp.Compare(a.Task, b.Task))
}

func compareRunEnds(a, b runEnd) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.run, b.run))
}

// derivedJobs are the indexes that the job entries and the search for what is due read.
type derivedJobs struct {
	hungry     *index[potJob, none] // jobs with fewer slots than could run, by the pot that might pay
	streamRuns *index[streamRun, none]
	openRuns   *index[runSince, none]
	runEnds    *index[runEnd, none]
	parked     *index[potRun, none]
	parkEnds   *index[runEnd, none] // suspended runs by the time up to which they are paid; those that stop and are on no node, by that end
	streamEnds *index[streamEnd, none]
	capLines   *index[capLine, none]
	jobEnds    *index[jobEnd, none]
	draining   *index[scheduler.NodeID, none] // with a deadline
	retries    *index[nodeRetry, none]
}

// dueRows is a moment of them that a view keeps.
type dueRows struct {
	streamRuns rows[streamRun, none]
	openRuns   rows[runSince, none]
	runEnds    rows[runEnd, none]
	parked     rows[potRun, none]
	parkEnds   rows[runEnd, none]
	streamEnds rows[streamEnd, none]
	capLines   rows[capLine, none]
	jobEnds    rows[jobEnd, none]
	draining   rows[scheduler.NodeID, none]
	retries    rows[nodeRetry, none]
}

func (d *derivedJobs) freeze() dueRows {
	return dueRows{
		streamRuns: d.streamRuns.freeze(), openRuns: d.openRuns.freeze(), runEnds: d.runEnds.freeze(),
		parked: d.parked.freeze(), parkEnds: d.parkEnds.freeze(),
		streamEnds: d.streamEnds.freeze(), capLines: d.capLines.freeze(), jobEnds: d.jobEnds.freeze(), draining: d.draining.freeze(),
		retries: d.retries.freeze(),
	}
}

func newDerivedJobs() derivedJobs {
	return derivedJobs{
		hungry: newIndex[potJob, none](func(a, b potJob) int {
			return cmp.Or(cmp.Compare(a.pot, b.pot), cmp.Compare(a.job, b.job))
		}),
		streamRuns: newIndex[streamRun, none](func(a, b streamRun) int {
			return cmp.Or(compareStreams(a.stream, b.stream), cmp.Compare(a.run, b.run))
		}),
		openRuns: newIndex[runSince, none](func(a, b runSince) int {
			return cmp.Or(cmp.Compare(a.pool, b.pool), cmp.Compare(a.since, b.since), cmp.Compare(a.run, b.run))
		}),
		runEnds: newIndex[runEnd, none](compareRunEnds),
		parked: newIndex[potRun, none](func(a, b potRun) int {
			return cmp.Or(cmp.Compare(a.pot, b.pot), cmp.Compare(a.run, b.run))
		}),
		parkEnds: newIndex[runEnd, none](compareRunEnds),
		streamEnds: newIndex[streamEnd, none](func(a, b streamEnd) int {
			return cmp.Or(cmp.Compare(a.at, b.at), compareStreams(a.stream, b.stream))
		}),
		capLines: newIndex[capLine, none](func(a, b capLine) int {
			return cmp.Or(cmp.Compare(a.pool, b.pool), a.index.Cmp(b.index), cmp.Compare(a.job, b.job))
		}),
		jobEnds: newIndex[jobEnd, none](func(a, b jobEnd) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.job, b.job))
		}),
		draining: newIndex[scheduler.NodeID, none](byNumber),
		retries: newIndex[nodeRetry, none](func(a, b nodeRetry) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.node, b.node))
		}),
	}
}

// follow keeps a set of keys up as a record changes: keyOf says where the record stands, if anywhere.
func follow[K comparable, R any](x *index[K, none], old, new *R, keyOf func(*R) (K, bool)) {
	var was, is K
	var had, has bool
	if old != nil {
		was, had = keyOf(old)
	}
	if new != nil {
		is, has = keyOf(new)
	}
	if had && has && was == is {
		return
	}
	if had {
		x.del(was)
	}
	if has {
		x.set(is, none{})
	}
}

func (d *derivedJobs) jobChanged(old, new *scheduler.Job) {
	follow(d.hungry, old, new, func(j *scheduler.Job) (potJob, bool) { return potJob{j.Pot, j.ID}, slotsWanted(j) > 0 })
	follow(d.jobEnds, old, new, func(j *scheduler.Job) (jobEnd, bool) { return jobEnd{j.Ended, j.ID}, j.State == scheduler.JobDone })
}

// runChanged is told of a run and of the job that it belongs to, whose pot and mode never change.
func (d *derivedJobs) runChanged(job *scheduler.Job, old, new *scheduler.Run) {
	follow(d.openRuns, old, new, func(r *scheduler.Run) (runSince, bool) {
		return runSince{r.Pool, max(r.Placed, r.Start, r.Settled), r.ID}, true
	})
	follow(d.runEnds, old, new, func(r *scheduler.Run) (runEnd, bool) {
		return runEnd{r.Until, r.ID}, r.Until != 0 && r.State != scheduler.RunStopping
	})
	if job != nil && job.Mode == funding.Stream {
		follow(d.streamRuns, old, new, func(r *scheduler.Run) (streamRun, bool) {
			return streamRun{StreamID{Pot: job.Pot, Pool: r.Pool}, r.ID}, r.Start != 0 && r.Parked == nil
		})
		follow(d.parked, old, new, func(r *scheduler.Run) (potRun, bool) {
			return potRun{job.Pot, r.ID}, r.State == scheduler.RunSuspended
		})
		follow(d.parkEnds, old, new, func(r *scheduler.Run) (runEnd, bool) {
			switch {
			case r.State == scheduler.RunSuspended:
				return runEnd{r.Parked.Until, r.ID}, true
			case r.State == scheduler.RunStopping && len(r.Nodes) == 0:
				return runEnd{r.KillAt, r.ID}, true
			}
			return runEnd{}, false
		})
	}
}

func (d *derivedJobs) nodeChanged(old, new *scheduler.Node) {
	follow(d.draining, old, new, func(n *scheduler.Node) (scheduler.NodeID, bool) {
		return n.ID, n.State == scheduler.NodeDraining && n.Deadline != 0
	})
	follow(d.retries, old, new, func(n *scheduler.Node) (nodeRetry, bool) {
		if len(n.Refused) == 0 {
			return nodeRetry{}, false
		}
		return nodeRetry{n.Refused[0].Until, n.ID}, true
	})
}

func (d *derivedJobs) streamChanged(id StreamID, old, new *funding.StreamHold) {
	follow(d.streamEnds, old, new, func(h *funding.StreamHold) (streamEnd, bool) {
		return streamEnd{h.Grace, id}, h.Paused != 0 && !h.Closing
	})
}

func (d *derivedJobs) capChanged(id scheduler.JobID, old, new *funding.StreamHold) {
	follow(d.capLines, old, new, func(h *funding.StreamHold) (capLine, bool) {
		line, ok := h.Ends()
		return capLine{scheduler.PoolID(h.Pool), line, id}, ok && !h.Closing
	})
}
