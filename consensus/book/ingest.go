package book

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/coinop/coinop/consensus/machine"
)

// errChain means that an event does not follow the one before it.
var errChain = errors.New("the chain of events is broken")

// Run writes events down until ctx ends, and makes the book anew where it is found damaged. It falls behind without
// harm: what has left the node's memory is made good from another book, or from the log.
func (b *Book) Run(ctx context.Context) error {
	var checking sync.WaitGroup
	defer checking.Wait()
	checking.Go(func() { b.keepChecking(ctx) })
	for ctx.Err() == nil {
		err := b.turn(ctx)
		if ctx.Err() != nil {
			break
		}
		b.setTrouble(err)
		if err != nil {
			b.cfg.Log.Warn("write the book", "file", b.cfg.Path, "error", err)
			b.pause(ctx, b.cfg.Retry)
		}
	}
	return nil
}

// turn is one step; a book that was found damaged, by whomever, is made anew instead.
func (b *Book) turn(ctx context.Context) error {
	stepping, end := context.WithCancel(ctx)
	defer end()
	if b.found(end) == nil {
		err := b.step(stepping)
		b.suspect(err)
		if b.found(func() {}) == nil {
			return err
		}
	}
	return b.renew(b.found(func() {}))
}

func (b *Book) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// step waits for events and writes a batch.
func (b *Book) step(ctx context.Context) error {
	last, _ := b.end()
	if err := b.cfg.Source.WaitEvent(ctx, last+1); err != nil {
		return err
	}
	begin := b.cfg.Source.EventsBegin()
	switch {
	case begin > last+1:
		return b.catchUp(ctx, begin-1)
	case begin <= last:
		if back, err := b.wentBack(ctx, begin); back || err != nil {
			return err
		}
	}
	b.pause(ctx, b.cfg.Gather)
	events, err := b.cfg.Source.Events(ctx, last, batchMax)
	if err != nil {
		// The ring moved on meanwhile, or the state was replaced by an older one: look again.
		b.pause(ctx, b.cfg.Gather)
		return nil
	}
	if err := b.append(events); err != nil {
		return err
	}
	if len(events) < batchMax {
		b.setMissing(false)
	}
	return nil
}

// append checks the chain and writes events that follow what is there.
func (b *Book) append(events []machine.Event) error {
	last, hash := b.end()
	for _, e := range events {
		want, err := machine.ChainHash(hash, e)
		if err != nil {
			return fmt.Errorf("check event %d: %w", e.Seq, err)
		}
		if e.Seq != last+1 || e.Hash != want {
			return fmt.Errorf("event %d after %d: %w", e.Seq, last, errChain)
		}
		last, hash = e.Seq, e.Hash
	}
	return b.store(events)
}

// store writes events in one transaction.
func (b *Book) store(events []machine.Event) error {
	if len(events) == 0 {
		return nil
	}
	tx, err := b.write.Begin()
	if err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // it does nothing after Commit
	if err := insertEvents(tx, events); err != nil {
		return fmt.Errorf("write events from %d: %w", events[0].Seq, err)
	}
	lines := &jobLines{tx: tx, made: map[machine.EventKind]*sql.Stmt{}}
	for _, e := range events {
		if err := lines.tell(e); err != nil {
			return fmt.Errorf("write job %d at event %d: %w", e.Job, e.Seq, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write events from %d: %w", events[0].Seq, err)
	}
	final := events[len(events)-1]
	b.advance(final.Seq, final.Hash)
	return nil
}

const (
	rowsAtOnce = 64
	columns    = 7
)

// insertEvents writes many rows a statement: a statement costs more than a row.
func insertEvents(tx *sql.Tx, events []machine.Event) error {
	const head, row = "INSERT INTO events (seq, at, kind, job, pot, pool, body) VALUES ", "(?,?,?,?,?,?,?)"
	var many *sql.Stmt
	for len(events) > 0 {
		n := min(rowsAtOnce, len(events))
		args := make([]any, 0, n*columns)
		for _, e := range events[:n] {
			body, err := cbor.Marshal(e)
			if err != nil {
				return err
			}
			args = append(args, int64(e.Seq), int64(e.At), string(e.Kind), int64(e.Job), int64(e.Pot), int64(e.Pool), body)
		}
		if n < rowsAtOnce {
			_, err := tx.Exec(head+strings.TrimSuffix(strings.Repeat(row+",", n), ","), args...)
			return err
		}
		if many == nil {
			var err error
			if many, err = tx.Prepare(head + strings.TrimSuffix(strings.Repeat(row+",", n), ",")); err != nil {
				return err
			}
			defer many.Close()
		}
		if _, err := many.Exec(args...); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// jobLines brings jobs' lines up to date, with statements that are prepared once a batch.
type jobLines struct {
	tx   *sql.Tx
	made map[machine.EventKind]*sql.Stmt
}

func (l *jobLines) exec(kind machine.EventKind, text string, args ...any) error {
	s := l.made[kind]
	if s == nil {
		var err error
		if s, err = l.tx.Prepare(text); err != nil {
			return err
		}
		l.made[kind] = s // the transaction closes it
	}
	_, err := s.Exec(args...)
	return err
}

func (l *jobLines) tell(e machine.Event) error {
	switch e.Kind {
	case machine.EventSubmitted:
		return l.exec(e.Kind, "INSERT INTO jobs (job, pool, pot, bid, weight, submitted, first) VALUES (?,?,?,?,?,?,?)",
			int64(e.Job), int64(e.Pool), int64(e.Pot), int64(e.Rate), int64(e.Weight), int64(e.At), int64(e.Seq))
	case machine.EventStarted:
		return l.exec(e.Kind, "UPDATE jobs SET started = ? WHERE job = ? AND started = 0", int64(e.At), int64(e.Job))
	case machine.EventEnded:
		return l.exec(e.Kind, "UPDATE jobs SET ended = ?, reason = ?, exit = ?, charged = ?, receipt = ?, final = ? WHERE job = ?",
			int64(e.At), int64(e.Reason), int64(e.Exit), int64(e.Amount), e.Body, int64(e.Seq), int64(e.Job))
	}
	return nil
}
