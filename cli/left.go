package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coinop/coinop/api/client"
)

// leftEvery is how often a job is looked at to which nothing happens: prices change, and with them how long money lasts.
const leftEvery = 30 * time.Second

// eachChange calls see with a job at first, after what happens to it, and every so often, until it is done or cannot be seen.
func (a *app) eachChange(ctx context.Context, n uint64, view string, every time.Duration, see func(client.Job, []client.Event)) {
	c, err := a.connect()
	if err != nil {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	happened := make(chan client.Event, 64)
	var reader sync.WaitGroup
	defer func() {
		stop()
		reader.Wait()
	}()
	reader.Go(func() {
		_ = c.Events(ctx, client.EventQuery{Job: n, View: view, Follow: true}, func(e client.Event) error {
			select {
			case happened <- e:
			case <-ctx.Done():
			}
			return nil
		})
	})
	tick := time.NewTicker(every)
	defer tick.Stop()
	var events []client.Event
	for {
		job, err := c.Job(ctx, n, view)
		if err == nil {
			if see(job, events); job.State == "done" {
				return
			}
			events = nil
		}
		select {
		case <-ctx.Done():
			return
		case e := <-happened:
			events = append(events, e)
			for waits := true; waits; { // those that came with it cost no look of their own
				select {
				case e := <-happened:
					events = append(events, e)
				default:
					waits = false
				}
			}
		case <-tick.C:
		}
	}
}

// left is what a job has left of time and money, and what of that was told.
type left struct {
	job       uint64
	until     time.Time // the nearer end; zero: none
	byMoney   bool      // it is the money's
	stream    bool      // it can be given more time
	micro     int64
	deposited int64
	warned    time.Duration // the last of warnings that was given
}

// warnings are how long before the end a line says so.
func warnings() []time.Duration { return []time.Duration{10 * time.Minute, time.Minute} }

// see takes in the job as it is now, and returns what is to be said of it.
func (l *left) see(j client.Job, task int32, events []client.Event) (lines []string) {
	p := j.Private
	if p == nil {
		return nil
	}
	l.until, l.byMoney, l.stream = time.Time{}, false, j.Mode == modeStream
	for _, r := range p.Runs {
		if r.Task == task && r.Ended == nil && r.Until != nil {
			l.until = *r.Until
			break
		}
	}
	if p.FundedUntil != nil && (l.until.IsZero() || p.FundedUntil.Before(l.until)) {
		l.until, l.byMoney = *p.FundedUntil, true
	}
	spent := p.SpentMicro
	if p.Pot.Jobs > 1 { // of a pot that pays for others too, as far as it is settled
		spent = p.Pot.ChargedMicro + p.Pot.RefundedMicro
	}
	l.micro = max(0, p.Pot.DepositedMicro-spent)
	if more := p.Pot.DepositedMicro - l.deposited; l.deposited > 0 && more > 0 {
		lines = append(lines, fmt.Sprintf("%s were added; it lasts until %s", money(more), clock(&l.until)))
	}
	l.deposited = p.Pot.DepositedMicro
	for _, e := range events {
		switch {
		case e.Kind == "notice" && e.Until != nil && e.Until.After(time.Now()):
			lines = append(lines, fmt.Sprintf("it will be stopped at %s: %s", clock(e.Until), or(e.Text, e.Reason)))
		case e.Kind == "extended":
			lines = append(lines, "its time limit was moved; it lasts until "+clock(&l.until))
		case e.Kind == "paused" && j.State == "paused":
			lines = append(lines, fmt.Sprintf("it stands still: the money has run out; `coinop fund %d N` lets it go on", l.job))
		case e.Kind == "suspended" && j.State == "paused":
			lines = append(lines, fmt.Sprintf("it is on disk, and kept until %s", clock(e.Until)))
		}
	}
	return lines
}

// title is for the terminal's frame.
func (l *left) title(now time.Time) string {
	text := fmt.Sprintf("job %d", l.job)
	if !l.until.IsZero() {
		text += ": " + roughly(l.until.Sub(now)) + " left"
	}
	return text + ", money " + money(l.micro/1_000_000*1_000_000)
}

// warning is a line that is due; "": none.
func (l *left) warning(now time.Time) string {
	if l.until.IsZero() {
		return ""
	}
	rest, due := l.until.Sub(now), time.Duration(0)
	for _, before := range warnings() {
		if rest <= before {
			due = before
		}
	}
	told := l.warned
	l.warned = due
	switch {
	case due == 0 || told != 0 && told <= due: // or it has more time again
		return ""
	case l.byMoney:
		return fmt.Sprintf("the money ends in %s, at %s; `coinop fund %d N` adds to it", roughly(rest), clock(&l.until), l.job)
	}
	text := fmt.Sprintf("its time limit ends it in %s, at %s", roughly(rest), clock(&l.until))
	if l.stream {
		text += fmt.Sprintf("; `coinop fund %d --time 30m` moves it", l.job)
	}
	return text
}

// roughly is a time to the minute, and towards its end to the second.
func roughly(d time.Duration) string {
	d = max(0, d.Truncate(time.Second))
	switch {
	case d < 2*time.Minute:
		return d.String()
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
}

// tellLeft keeps a terminal's title true, and warns on it before the job ends.
func (a *app) tellLeft(ctx context.Context, q client.ExecQuery, to *screen) {
	view := a.viewKey(ctx, q.Job)
	seen := make(chan func(*left) []string)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	watcher.Go(func() {
		a.eachChange(ctx, q.Job, view, leftEvery, func(j client.Job, events []client.Event) {
			task := max(q.Task, j.Tasks.First)
			select {
			case seen <- func(l *left) []string { return l.see(j, task, events) }:
			case <-ctx.Done():
			}
		})
	})
	l, shown := &left{job: q.Job}, ""
	tick := time.NewTicker(time.Second) // it asks nobody
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case see := <-seen:
			for _, text := range see(l) {
				to.line(text)
			}
		case <-tick.C:
		}
		if l.deposited == 0 {
			continue // nothing is known yet
		}
		if text := l.warning(time.Now()); text != "" {
			to.line(text)
		}
		if text := l.title(time.Now()); text != shown {
			shown = text
			to.title(text)
		}
	}
}
