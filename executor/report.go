package executor

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

const (
	// gather is how long a report waits for more to tell, so that a burst of ends is one message.
	gather = 3 * time.Millisecond
	// reportBytesMax keeps a report well below what one message may hold.
	reportBytesMax = 8 << 20
)

// report marks the run as news.
func (e *Executor) report(r *run) {
	e.mu.Lock()
	if e.runs[r.id] == r {
		e.dirty[r.id] = r
	}
	e.mu.Unlock()
	poke(e.send)
}

// news takes what is to be reported: what has changed, or all. A heartbeat tells all, so what a server could not write
// down the first time is not lost to it.
func (e *Executor) news(all bool) []*run {
	e.mu.Lock()
	defer e.mu.Unlock()
	from := e.dirty
	if all {
		from = e.runs
	}
	list := make([]*run, 0, len(from))
	for _, r := range from {
		list = append(list, r)
	}
	clear(e.dirty)
	return list
}

// message tells the run as it is.
func (r *run) message(now int64) *wire.RunStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil {
		return r.endMessage(now)
	}
	m := &wire.RunStatus{Run: r.id, Version: r.version, State: wire.RunState_RUN_STATE_PREPARING}
	if r.shown.StartedBoot == 0 {
		return m
	}
	age := (now - r.shown.StartedBoot) / int64(time.Millisecond)
	m.StartedAgeMs = &age
	m.Frozen, m.Missing, m.Gpu = r.spans(r.shown), missing(r.shown), r.using
	m.State = wire.RunState_RUN_STATE_RUNNING // also while its files are being collected; then the length is known
	if r.status.State.Final() {
		ran := max(0, r.status.EndedBoot-r.status.StartedBoot) / int64(time.Millisecond)
		m.RanMs = &ran
	}
	if n := len(m.Frozen); r.shown.State == drivers.StateFrozen && n > 0 {
		m.State = wire.RunState_RUN_STATE_FROZEN
		if m.Frozen[n-1].GetCause() == wire.SpanCause_SPAN_CAUSE_ORDERED {
			m.State = wire.RunState_RUN_STATE_PAUSED
		}
	}
	if r.shown.State == drivers.StateSuspended {
		m.State = wire.RunState_RUN_STATE_SUSPENDED
		if r.slept != 0 {
			age := (now - r.slept) / int64(time.Millisecond)
			m.SuspendedAgeMs = &age
		}
		m.Stored = r.stored
	}
	return m
}

// endMessage tells of an ended run. The caller holds mu.
func (r *run) endMessage(now int64) *wire.RunStatus {
	m := proto.CloneOf(r.end.status)
	m.Run = r.id
	m.Version = max(m.GetVersion(), r.order.GetVersion())
	if r.end.startedBoot == 0 {
		return m
	}
	age := (now - r.end.startedBoot) / int64(time.Millisecond)
	if r.end.boot != r.boot {
		// The clock of that boot is gone. It ended before this boot began: so old it is at least.
		age = now/int64(time.Millisecond) + m.GetRanMs()
	}
	m.StartedAgeMs = &age
	return m
}

// reporter makes the reports of one stream.
type reporter struct {
	executor *Executor
	seq      uint64
	told     *wire.NodeFacts
	whole    bool
}

// next makes the reports that tell what there is to tell; at least one.
func (p *reporter) next(heartbeat bool) []*wire.Report {
	e := p.executor
	now := e.config.Boot()
	e.mu.Lock()
	facts, leaving := e.facts, e.leaving
	e.mu.Unlock()
	current := &wire.Report{Leaving: leaving}
	if facts != p.told {
		current.Facts, p.told = facts, facts
	}
	reports := []*wire.Report{current}
	size := 0
	for _, r := range e.news(!p.whole || heartbeat) {
		m := r.message(now)
		if size += proto.Size(m); size > reportBytesMax && len(current.Runs) > 0 {
			current, size = &wire.Report{Leaving: leaving}, proto.Size(m)
			reports = append(reports, current)
		}
		current.Runs = append(current.Runs, m)
	}
	current.Whole, p.whole = !p.whole, true
	for _, report := range reports {
		p.seq++
		report.Seq, report.SentBootNs = p.seq, now
	}
	return reports
}
