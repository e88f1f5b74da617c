package executor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/coinop/coinop/drivers"
)

// A lease is written anew when it gained so much: with a heartbeat of ten seconds each answered report renews, while a
// burst of reports renews once.
const leaseStepNs = 5 * int64(time.Second)

// leasesAtOnce bounds how many renewals are under way.
const leasesAtOnce = 8

// renewMost is how long a driver has to write a lease: longer than a plugin that answers nothing is let live.
const renewMost = 45 * time.Second

// leases says whether a driver holds its tasks to their leases.
func leases(d drivers.Description) bool {
	return slices.ContainsFunc(d.Limits, func(l drivers.LimitSupport) bool { return l.Limit == drivers.LimitLease && l.Supported })
}

// keepLeases writes the leases of all tasks. Each driver has a goroutine of its own, so that one that hangs costs no
// other's tasks their leases.
func (e *Executor) keepLeases(ctx context.Context) {
	var writing sync.WaitGroup
	defer writing.Wait()
	var granted []chan struct{}
	for name := range e.config.Drivers {
		news := make(chan struct{}, 1)
		granted = append(granted, news)
		writing.Go(func() { e.writeLeases(ctx, name, news) })
	}
	for {
		select {
		case <-e.renew:
		case <-ctx.Done():
			return
		}
		for _, news := range granted {
			poke(news)
		}
	}
}

// writeLeases writes the leases of a driver's tasks, in one go for each grant.
func (e *Executor) writeLeases(ctx context.Context, name string, granted <-chan struct{}) {
	for {
		select {
		case <-granted:
		case <-ctx.Done():
			return
		}
		if e.isAway(name) {
			continue // else nobody could say when its tasks' leases have lapsed
		}
		now := e.config.Boot()
		slots := make(chan struct{}, leasesAtOnce)
		var renewals sync.WaitGroup
		for _, r := range e.all() {
			if r.journal.spec.GetDriver() != name {
				continue
			}
			lease, byMoney, due := r.renewal(now)
			if !due {
				continue
			}
			slots <- struct{}{}
			renewals.Go(func() {
				defer func() { <-slots }()
				r.renewTo(ctx, lease, byMoney)
			})
		}
		renewals.Wait()
	}
}

// leaseAt is how far the run's lease may reach: to what the servers granted, to where its money ends, and a little behind
// its time limit. byMoney says that the money is what ends it.
func (r *run) leaseAt(now int64) (until int64, byMoney bool) {
	r.Executor.mu.Lock()
	until = r.lease
	r.Executor.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if limit := r.limitNow(); limit != 0 {
		from := r.began
		if from == 0 {
			from = now
		}
		until = min(until, from+limit+limitSlackNs)
	}
	if r.money < until {
		return r.money, true
	}
	return until, false
}

// renewal says whether the lease that the driver has must be written anew. A run that has not started waits for its
// lease, so it is told.
func (r *run) renewal(now int64) (lease int64, byMoney, due bool) {
	lease, byMoney = r.leaseAt(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dropped {
		return 0, false, false // it may run elsewhere by now: it must not thaw on its way out
	}
	if !r.active {
		if r.began == 0 && r.end == nil {
			poke(r.changed)
		}
		return 0, false, false
	}
	if r.status.State.Final() || lease <= 0 {
		return 0, false, false
	}
	return lease, byMoney, lease < r.written || lease-r.written >= leaseStepNs || r.written < now && lease > now
}

func (r *run) renewTo(ctx context.Context, lease int64, byMoney bool) {
	driver := r.config.Drivers[r.spec().GetDriver()]
	if driver == nil {
		return
	}
	if byMoney { // remembered first: the freeze must not come before its reason
		r.mu.Lock()
		r.cut(lease)
		r.mu.Unlock()
	}
	r.Executor.mu.Lock()
	can := r.offers[r.spec().GetDriver()].can
	r.Executor.mu.Unlock()
	r.mu.Lock()
	r.leased, r.granted = leases(can), max(r.granted, lease)
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, renewMost)
	defer cancel()
	err := driver.Control(ctx, r.journal.task, drivers.Control{Kind: drivers.Lease, Until: lease})
	switch {
	case err == nil:
		r.mu.Lock()
		r.written = lease
		r.mu.Unlock()
	case errors.Is(err, drivers.ErrEnded), errors.Is(err, drivers.ErrNoTask), ctx.Err() != nil:
		// The run's own goroutine sees to that.
	default: // the next answer tries again, long before the lease lapses
		r.log.Warn("a lease could not be renewed", "run", r.id, "error", err)
	}
}

// cut remembers that money ends a lease. The caller holds mu.
func (r *run) cut(lease int64) {
	r.cuts = append(r.cuts, lease)
	r.cuts = r.cuts[max(0, len(r.cuts)-cutsMax):]
}

// cutByMoney says whether a freeze that began at the given boot time began because the money ended. The caller holds mu.
func (r *run) cutByMoney(at int64) bool {
	for _, cut := range r.cuts {
		if at >= cut && at-cut < int64(time.Second) {
			return true
		}
	}
	return false
}
