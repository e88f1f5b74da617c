package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

const (
	// placeMax bounds one batch of placements, so that an entry stays small and other entries get in between.
	placeMax = 2048
	// forgetMax bounds the jobs, and the pots, that one entry forgets.
	forgetMax = 1000
	// dueEvery is how often the leader looks whether time has brought something about. Executors enforce the ends
	// of time and money themselves; this is how soon the books follow.
	dueEvery = 100 * time.Millisecond
	// patience is how long a new leader leaves streams alone whose money seems to have ended, if the log has rested for
	// longer than a lease. They may have stood still, which only their executors know; those keep them from running on
	// unpaid meanwhile.
	patience = 10 * time.Second
	// retryAfter is how long a loop rests when the log took nothing.
	retryAfter = 200 * time.Millisecond
)

// truth is the replicated state as the leader's loops use it.
type truth interface {
	Propose(ctx context.Context, c machine.Command) (machine.Result, error)
	View() *machine.View
	// Now is cluster time by this server's clock: what an entry proposed now would be stamped with.
	Now() funding.Millis
}

// leader is what only the leader does: decide what is placed, what it costs, and what time has brought about.
type leader struct {
	truth truth
	news  *news
	lost  func() []scheduler.NodeID // nodes whose lease and margin are over
	log   *slog.Logger
	rest  funding.Millis // how far time moved on from the last entry when this server took office
	quiet funding.Millis // until then streams are not ended for want of money; written before the loops begin
}

// run decides until ctx ends, which is when leadership does.
func (l *leader) run(ctx context.Context) {
	if l.rest > funding.Millis(leaseTime.Milliseconds()) {
		l.quiet = l.truth.Now() + funding.Millis(patience.Milliseconds())
	}
	var loops sync.WaitGroup
	loops.Go(func() { l.loop(ctx, "place", l.news.place, 0, l.place) })
	loops.Go(func() { l.loop(ctx, "price", l.news.price, dueEvery, l.price) })
	loops.Go(func() { l.loop(ctx, "pulse", l.news.pulse, dueEvery, l.pulse) })
	loops.Wait()
}

// loop calls act when the bell rings, and each period where there is one, until ctx ends. Act returns whether there
// is more to do at once.
func (l *leader) loop(ctx context.Context, what string, b bell, period time.Duration, act func(context.Context) (bool, error)) {
	var tick <-chan time.Time
	if period > 0 {
		t := time.NewTicker(period)
		defer t.Stop()
		tick = t.C
	}
	for {
		more, err := act(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.log.Warn("decision not taken", "what", what, "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryAfter):
			}
			continue
		case more:
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-b:
		case <-tick:
		}
	}
}

// place proposes one batch. The next one is decided from what this one has left.
func (l *leader) place(ctx context.Context) (bool, error) {
	if due := l.truth.View().WakeDue(l.truth.Now(), placeMax); len(due.Wake)+len(due.Move) > 0 {
		if err := l.wake(ctx, due); err != nil {
			return false, err
		}
	}
	decisions := scheduler.Place(l.truth.View().Scheduler(), l.truth.Now(), placeMax)
	if len(decisions) == 0 {
		return false, nil
	}
	result, err := l.truth.Propose(ctx, machine.Place{Decisions: batch(decisions)})
	if err != nil {
		return false, fmt.Errorf("place %d tasks: %w", len(decisions), err)
	}
	if err := result.Err(); err != nil {
		return false, fmt.Errorf("place %d tasks: %w", len(decisions), err)
	}
	var answer machine.PlaceAnswer
	if err := machine.DecodeAnswer(result.Answer, &answer); err != nil {
		return false, fmt.Errorf("place %d tasks: %w", len(decisions), err)
	}
	// Refused decisions are decided again from the state that refused them. Where nothing else was in the batch, that
	// could go on for ever without a change, so the next change is waited for.
	return len(answer.Runs) > 0, nil
}

// wake lets suspended runs go on.
func (l *leader) wake(ctx context.Context, due machine.Pulse) error {
	result, err := l.truth.Propose(ctx, due)
	if err == nil {
		err = result.Err()
	}
	if err != nil {
		return fmt.Errorf("let %d suspended tasks go on: %w", len(due.Wake)+len(due.Move), err)
	}
	return nil
}

// batch joins decisions for consecutive tasks of a job on one node.
func batch(decisions []scheduler.Decision) []machine.Placement {
	var out []machine.Placement
	for _, d := range decisions {
		if n := len(out); n > 0 {
			last := &out[n-1]
			if last.Job == d.Job && last.Nodes[0] == d.Node && last.First+last.Count == d.Task {
				last.Count++
				continue
			}
		}
		out = append(out, machine.Placement{Job: d.Job, First: d.Task, Count: 1, Nodes: []scheduler.NodeID{d.Node}})
	}
	return out
}

// price proposes a pool's new price where the rules want one.
func (l *leader) price(ctx context.Context) (bool, error) {
	view, now := l.truth.View(), l.truth.Now()
	var failed []error
	for _, pool := range view.Pools() {
		next, change := scheduler.NextPrice(pool, scheduler.Price(view.Scheduler(), pool.ID), now)
		if !change {
			continue
		}
		result, err := l.truth.Propose(ctx, machine.Price{Pool: pool.ID, Price: next})
		if err == nil {
			err = result.Err()
		}
		var refusal *machine.Refusal
		if err != nil && !errors.As(err, &refusal) {
			failed = append(failed, fmt.Errorf("price pool %s: %w", pool.Name, err))
		}
	}
	return false, errors.Join(failed...)
}

// pulse proposes what is due, if anything is.
func (l *leader) pulse(ctx context.Context) (bool, error) {
	now := l.truth.Now()
	due, any := l.truth.View().Due(now)
	if any && now < l.quiet {
		any = spare(&due)
	}
	due.Lost = l.lost()
	if !any && len(due.Lost) == 0 {
		return l.forget(ctx, now)
	}
	result, err := l.truth.Propose(ctx, due)
	if err != nil {
		return false, fmt.Errorf("pulse: %w", err)
	}
	var answer machine.PulseAnswer
	if err := errors.Join(result.Err(), machine.DecodeAnswer(result.Answer, &answer)); err != nil {
		return false, fmt.Errorf("pulse: %w", err)
	}
	if len(due.Retry) > 0 {
		l.news.loops() // no event, and work may wait for just those nodes
	}
	return answer.Done > 0, nil
}

// forget drops what has been kept for its retention: the book has long had it.
func (l *leader) forget(ctx context.Context, now funding.Millis) (bool, error) {
	due, any := l.truth.View().ForgetDue(now, forgetMax)
	if !any {
		return false, l.sweep(ctx, now)
	}
	result, err := l.truth.Propose(ctx, due)
	if err != nil {
		return false, fmt.Errorf("forget %d jobs and %d pots: %w", len(due.Jobs), len(due.Pots), err)
	}
	var answer machine.ForgetAnswer
	if err := errors.Join(result.Err(), machine.DecodeAnswer(result.Answer, &answer)); err != nil {
		return false, fmt.Errorf("forget %d jobs and %d pots: %w", len(due.Jobs), len(due.Pots), err)
	}
	return len(answer.Refused)+len(answer.Pots) < len(due.Jobs)+len(due.Pots), nil
}

// sweep drops some of what closed keysets have left: their coins are worth nothing any more. There may be millions, which
// nobody waits for, so there is one such entry at each look.
func (l *leader) sweep(ctx context.Context, now funding.Millis) error {
	due, any := l.truth.View().SweepDue(now)
	if !any {
		return nil
	}
	result, err := l.truth.Propose(ctx, due)
	if err == nil {
		err = result.Err()
	}
	if err != nil {
		return fmt.Errorf("sweep what closed keysets have left: %w", err)
	}
	return nil
}

// spare takes out of a pulse what ends streams for want of money, and says whether anything is left.
func spare(p *machine.Pulse) bool {
	p.Pause = nil
	p.Stop = slices.DeleteFunc(p.Stop, func(s machine.StopRun) bool {
		return s.Reason == scheduler.ReasonMoneyEnd || s.Reason == scheduler.ReasonPauseGrace || s.Reason == scheduler.ReasonMaxTotal
	})
	return len(p.Renew)+len(p.Notice)+len(p.Resume)+len(p.Stop)+len(p.Prune)+len(p.Close)+len(p.Refunds)+len(p.Retry)+len(p.Keep) > 0 || p.Expire > 0
}
