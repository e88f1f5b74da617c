package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/coinop/coinop/api/client"
)

// statusLine is one line at the bottom of a terminal, redrawn below whatever is printed meanwhile. In a pipe the same
// line is printed whenever the job's state changes.
type statusLine struct {
	app  *app
	live bool

	mu     sync.Mutex
	to     io.Writer
	text   string // guarded by mu; what is to be shown
	last   string // guarded by mu; the newest state that was printed in a pipe
	broken bool   // guarded by mu; the task's output ends within a line, which must not be drawn over
}

const (
	eraseLine = "\r\x1b[K"
	// A text that is wider than the terminal is cut by it instead of going on in a second line, which nobody would erase.
	noWrap, wrap = "\x1b[?7l", "\x1b[?7h"
)

func newStatusLine(a *app) *statusLine { return &statusLine{app: a, live: a.live(), to: a.err} }

// set shows a text. Change tells a new state from one that only counts on.
func (l *statusLine) set(change, text string) {
	if l.app.quiet || l.app.json {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.live {
		if change != l.last {
			l.last = change
			fmt.Fprintln(l.to, text)
		}
		return
	}
	l.text = text
	l.draw()
}

// draw shows the text below what was printed. The caller holds l.mu.
func (l *statusLine) draw() {
	if !l.broken && l.text != "" {
		fmt.Fprint(l.to, eraseLine+noWrap+l.text+wrap)
	}
}

// clear takes the line away and begins a new one where the output has broken off within one.
func (l *statusLine) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.live {
		return
	}
	l.text = ""
	if l.broken {
		l.broken = false
		fmt.Fprintln(l.to)
		return
	}
	fmt.Fprint(l.to, eraseLine)
}

// over is a writer that makes room for what is written and draws the line again below it.
func (l *statusLine) over(w io.Writer) io.Writer {
	if !l.live || !l.app.isTerminal(w) {
		return w
	}
	return &overLine{l, w}
}

type overLine struct {
	line *statusLine
	w    io.Writer
}

func (o *overLine) Write(p []byte) (int, error) {
	o.line.mu.Lock()
	defer o.line.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if !o.line.broken {
		fmt.Fprint(o.line.to, eraseLine) // the line, or the ^C of the keyboard
	}
	n, err := o.w.Write(p)
	o.line.broken = p[len(p)-1] != '\n'
	o.line.draw()
	return n, err
}

// followLife keeps the status line true until the job is done: what it does, what it has spent and how long its
// money lasts. Events say when to look; between them a clock does, since money runs.
func (a *app) followLife(ctx context.Context, line *statusLine, n uint64, view string) {
	notice, deposited := "", int64(0)
	a.eachChange(ctx, n, view, time.Second, func(job client.Job, events []client.Event) {
		if job.State == "done" {
			return
		}
		for _, e := range events {
			notice = noticeOf(e, notice)
		}
		if p := job.Private; p != nil {
			if more := p.Pot.DepositedMicro - deposited; deposited > 0 && more > 0 {
				notice = toppedUp + money(more)
			}
			deposited = p.Pot.DepositedMicro
		}
		line.set(job.State+notice, statusText(job, notice))
	})
}

const toppedUp = ", topped up with "

// noticeOf is what an event adds to the line.
func noticeOf(e client.Event, before string) string {
	switch e.Kind {
	case "low_funds":
		return ", low funds"
	case "paused":
		return ", the money has run out"
	case "suspended":
		return ", the money has run out; on disk, kept until " + clock(e.Until)
	case "resumed":
		if !strings.HasPrefix(before, toppedUp) { // that says more, and it is seen in the job itself
			return ", resumed"
		}
	case "extended":
		return ", given more time"
	case "started":
		return ""
	case "notice":
		return ", " + or(e.Text, "under notice")
	}
	return before
}

func statusText(j client.Job, notice string) string {
	text := fmt.Sprintf("job %d %s", j.Job, j.State)
	if len(j.Nodes) > 0 {
		text += " on " + j.Nodes[0]
	}
	text += notice
	if p := j.Private; p != nil {
		text += ", spent " + money(p.SpentMicro)
		if p.FundedUntil != nil && j.State != "paused" {
			text += ", funded until " + clock(p.FundedUntil)
		}
	}
	return text
}
