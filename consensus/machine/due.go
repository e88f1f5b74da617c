package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// dueMax bounds what one pulse is asked for; what is left is due again at once.
const dueMax = 4096

// pruneFrom is how many price breakpoints must be useless before it is worth an entry.
const pruneFrom = 64

// Due says what time has brought about: a pulse to propose, and false where nothing is due. Nodes
// whose lease has lapsed are the leader's own knowledge and not in it.
func (v *View) Due(at funding.Millis) (Pulse, bool) {
	d := due{View: v, at: at, stopping: make(map[scheduler.RunID]bool)}
	for _, pool := range v.Pools() {
		d.delay = max(d.delay, pool.KillDelay)
		d.inPool(pool)
	}
	d.limits()
	d.graces()
	d.parks()
	d.drains()
	d.refusals()
	d.pulse.Refunds = v.RefundsDue(at, dueMax)
	if v.ExpireDue(at) {
		d.pulse.Expire = ExpireMax
	}
	p := &d.pulse
	return *p, len(p.Renew)+len(p.Notice)+len(p.Pause)+len(p.Stop)+len(p.Prune)+len(p.Refunds)+len(p.Retry)+len(p.Keep) > 0 || p.Expire > 0
}

// due collects a pulse.
type due struct {
	*View
	at       funding.Millis
	delay    funding.Millis // the longest kill delay of any pool
	pulse    Pulse
	stopping map[scheduler.RunID]bool // looked up, never iterated
}

func (d *due) stop(run scheduler.RunID, reason scheduler.Reason, kill funding.Millis) {
	if d.stopping[run] || len(d.pulse.Stop) >= dueMax {
		return
	}
	d.stopping[run] = true
	d.pulse.Stop = append(d.pulse.Stop, StopRun{Run: run, Reason: reason, StopAt: d.at, KillAt: max(kill, d.at)})
}

// inPool finds what the pool's index has crossed.
func (d *due) inPool(pool *scheduler.Pool) {
	series, _ := d.View.series.get(pool.ID)
	d.streamsOf(pool, series)
	now := series.At(d.at)
	if soon, err := now.After(pool.Price, pool.KillDelay); err == nil {
		d.atMost(pool, series, soon)
	}
	if n := len(series.Points); n > pruneFrom {
		oldest := oldestOpen(d.openRuns, pool.ID, d.at)
		if series.Points[pruneFrom].At <= oldest {
			d.pulse.Prune = append(d.pulse.Prune, pool.ID)
		}
	}
}

// renewLead is how long before its end a tranche is renewed: late enough that renewals are rare,
// early enough that no lease has to end with it.
func renewLead(pool *scheduler.Pool) funding.Millis {
	return min(max(pool.LowFunds, pool.Tranche/10), pool.Tranche/2)
}

// streamsOf walks the streams whose money ends soon, the first to end first.
func (d *due) streamsOf(pool *scheduler.Pool, series funding.Series) {
	now := series.At(d.at)
	renewBy, err := now.After(pool.Price, renewLead(pool))
	if err != nil {
		return
	}
	noticeBy, err := now.After(pool.Price, pool.LowFunds)
	if err != nil {
		return
	}
	until := renewBy
	if until.Cmp(noticeBy) < 0 {
		until = noticeBy
	}
	left := dueMax
	d.StreamsCrossed(pool.ID, until, func(id StreamID, line funding.Index) bool {
		hold, ok := d.streams.get(id)
		if !ok || hold.Closing {
			return true
		}
		if pool.Price == 0 && line == now {
			return true // at its end, and nothing accrues: it goes on until there is a price again
		}
		pot, _ := d.pots.get(id.Pot)
		crossed := line.Cmp(now) <= 0
		switch {
		case hold.Paused != 0:
			d.grace(id, hold, pool, series)
		case pot.Free() > 0 && line.Cmp(renewBy) <= 0:
			d.pulse.Renew = append(d.pulse.Renew, id)
		case crossed:
			d.pulse.Pause = append(d.pulse.Pause, id)
		case !hold.Noticed && line.Cmp(noticeBy) <= 0 && pot.Free() <= 0:
			d.pulse.Notice = append(d.pulse.Notice, id)
		default:
			return true
		}
		left--
		return left > 0
	})
}

// grace stops a paused stream when its grace or its reserve is about to end.
func (d *due) grace(id StreamID, hold *funding.StreamHold, pool *scheduler.Pool, series funding.Series) {
	kill, reason := graceEnd(hold, series)
	if d.at < kill-moneyDelay(pool, hold.Paused, kill) {
		return
	}
	d.streamRuns.ascend(streamRun{stream: id}, func(key streamRun, _ none) bool {
		if key.stream == id {
			d.stop(key.run, reason, kill) // one is enough: the stream stops as a whole
		}
		return false
	})
}

// graces finds paused streams by the time at which their grace is over.
func (d *due) graces() {
	d.streamEnds.ascend(streamEnd{}, func(key streamEnd, _ none) bool {
		if key.at > d.at+d.delay || len(d.pulse.Stop) >= dueMax {
			return false
		}
		hold, ok := d.streams.get(key.stream)
		pool, known := d.Pool(key.stream.Pool)
		if ok && known {
			series, _ := d.View.series.get(pool.ID)
			d.grace(key.stream, hold, pool, series)
		}
		return true
	})
}

// parks finds suspended runs by the time up to which their keep is paid.
func (d *due) parks() {
	d.parkEnds.ascend(runEnd{}, func(key runEnd, _ none) bool {
		if key.at > d.at+d.delay || len(d.pulse.Stop)+len(d.pulse.Keep) >= dueMax {
			return false
		}
		run, _ := d.runs.get(key.run)
		pool, _ := d.Pool(run.Pool)
		switch kill, reason := parkedEnd(run.Parked); {
		case run.State == scheduler.RunStopping:
			if d.at >= run.KillAt {
				d.stop(key.run, run.Stop, run.KillAt)
			}
		case run.Parked.Ready && d.at >= kill:
			d.pulse.Keep = append(d.pulse.Keep, key.run)
		case !run.Parked.Ready && d.at >= kill-moneyDelay(pool, run.Parked.Since, kill):
			d.stop(key.run, reason, kill)
		}
		return true
	})
}

func (d *due) eachRunOf(job scheduler.JobID) func(func(*scheduler.Run)) {
	return func(visit func(*scheduler.Run)) {
		d.RunsOf(job, func(run *scheduler.Run) bool { visit(run); return true })
	}
}

// atMost finds stream jobs that are about to have cost all that they may.
func (d *due) atMost(pool *scheduler.Pool, series funding.Series, soon funding.Index) {
	d.capLines.ascend(capLine{pool: pool.ID}, func(key capLine, _ none) bool {
		if key.pool != pool.ID || key.index.Cmp(soon) > 0 || len(d.pulse.Stop) >= dueMax {
			return false
		}
		job, ok := d.jobs.get(key.job)
		kill, ends := series.When(key.index)
		if !ok || !ends || d.at < kill-capDelay(pool, job, d.eachRunOf(key.job), kill) {
			return true
		}
		d.RunsOf(key.job, func(run *scheduler.Run) bool {
			if run.Start != 0 && run.State != scheduler.RunStopping {
				d.stop(run.ID, scheduler.ReasonMaxTotal, kill)
				return false // the job stops as a whole
			}
			return true
		})
		return true
	})
}

// limits finds runs whose time limit is about to strike.
func (d *due) limits() {
	d.runEnds.ascend(runEnd{}, func(key runEnd, _ none) bool {
		if key.at > d.at+d.delay || len(d.pulse.Stop) >= dueMax {
			return false
		}
		run, _ := d.runs.get(key.run)
		pool, _ := d.Pool(run.Pool)
		job, _ := d.jobs.get(run.Job)
		if d.at >= run.Until-killDelay(pool, job.TimeLimit) {
			d.stop(run.ID, scheduler.ReasonTimeLimit, run.Until)
		}
		return true
	})
}

// drains finds what still runs on nodes whose drain has come to its deadline.
func (d *due) drains() {
	d.draining.ascend(0, func(id scheduler.NodeID, _ none) bool {
		node, _ := d.Node(id)
		d.RunsOfNode(id, func(run *scheduler.Run) bool {
			pool, _ := d.Pool(run.Pool)
			job, _ := d.jobs.get(run.Job)
			if run.State != scheduler.RunStopping && d.at >= node.Deadline-killDelay(pool, job.TimeLimit) {
				d.stop(run.ID, scheduler.ReasonDrained, node.Deadline)
			}
			return true
		})
		return true
	})
}

// ForgetDue says what has been kept for its retention, jobs and shared pots, at most so many of
// each, and false where there is nothing. A pot waits for its jobs.
func (v *View) ForgetDue(at funding.Millis, limit int) (Forget, bool) {
	var due Forget
	v.jobEnds.ascend(jobEnd{}, func(key jobEnd, _ none) bool {
		if key.at+Retention > at || len(due.Jobs) >= limit {
			return false
		}
		due.Jobs = append(due.Jobs, key.job)
		return true
	})
	v.potEnds.ascend(potEnd{}, func(key potEnd, _ none) bool {
		if key.at+Retention > at || len(due.Pots) >= limit {
			return false
		}
		if !v.pays(key.pot) {
			due.Pots = append(due.Pots, key.pot)
		}
		return true
	})
	return due, len(due.Jobs)+len(due.Pots) > 0
}

// pays says whether a job in memory is of a shared pot.
func (v *View) pays(pot funding.PotID) (any bool) {
	v.potJobs.ascend(potJob{pot: pot}, func(key potJob, _ none) bool {
		any = key.pot == pot
		return false
	})
	return any
}
