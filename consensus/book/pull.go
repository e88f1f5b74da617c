package book

import (
	"context"
	"errors"
	"fmt"

	"github.com/coinop/coinop/consensus/machine"
)

// catchUp fills the range that has left the node's memory, up to an event: from what is left of a damaged book, from
// another server's, or from the log. Only if nobody has it, neither now nor ever, is it left open.
func (b *Book) catchUp(ctx context.Context, upTo uint64) error {
	b.setMissing(true)
	sure := true // that nobody has it
	var failed []error
	rest := b.openRemains()
	defer rest.close()
	for _, p := range append([]Peer{rest}, b.cfg.Peers()...) {
		err := b.pull(ctx, p, upTo)
		if last, _ := b.end(); last >= upTo {
			b.setMissing(false)
			return nil
		}
		if err != nil {
			sure = false
			failed = append(failed, fmt.Errorf("server %s: %w", p.Name(), err))
		}
	}
	last, _ := b.end()
	if err := b.cfg.Source.Replay(ctx, last, b.append); err != nil {
		failed = append(failed, err)
	}
	if last, _ = b.end(); last >= upTo {
		b.setMissing(false)
		return nil
	}
	if !sure || ctx.Err() != nil {
		return fmt.Errorf("fill the book from event %d to %d: %w", last+1, upTo, errors.Join(failed...))
	}
	return b.leaveHole(ctx, last+1, rest)
}

// pull takes what a peer has; no error and no progress means that it does not have it.
func (b *Book) pull(ctx context.Context, p Peer, upTo uint64) error {
	for {
		last, _ := b.end()
		if last >= upTo {
			return nil
		}
		events, err := p.Events(ctx, last, batchMax)
		if err != nil || len(events) == 0 {
			return err
		}
		if err := b.append(events); err != nil {
			return err
		}
	}
}

// leaveHole goes on behind what nobody has, and writes down what is missing: it ends where the newest unbroken piece of a
// damaged book begins, or what is at hand.
func (b *Book) leaveHole(ctx context.Context, first uint64, rest *remains) error {
	begin := b.cfg.Source.EventsBegin()
	events, err := b.cfg.Source.Events(ctx, begin-1, 1)
	if err != nil {
		return fmt.Errorf("go on behind a hole: %w", err)
	}
	if e := rest.unbroken(ctx, events[0], first); e.Seq < begin {
		events = []machine.Event{e}
	}
	last := events[0].Seq - 1
	b.cfg.Log.Error("no server has these events any more; the book goes on without them", "file", b.cfg.Path, "first", first, "last", last)
	if _, err := b.write.Exec("INSERT OR REPLACE INTO holes (first, last) VALUES (?, ?)", int64(first), int64(last)); err != nil {
		return fmt.Errorf("write down a hole: %w", err)
	}
	b.mu.Lock()
	b.hole, b.missing = true, false
	b.mu.Unlock()
	if err := b.store(events); err != nil {
		return err
	}
	return b.pull(ctx, rest, begin-1)
}

// wentBack looks whether the state was replaced by an older one, whose events from begin on are
// others than those in the book. Then the book follows the state: what never happened is dropped.
func (b *Book) wentBack(ctx context.Context, begin uint64) (bool, error) {
	events, err := b.cfg.Source.Events(ctx, begin-1, 1)
	if err != nil {
		b.pause(ctx, b.cfg.Gather)
		return true, nil // nothing is at hand yet: look again
	}
	e := events[0]
	had, ok, err := b.eventBefore(e.Seq + 1)
	if err != nil {
		return false, err
	}
	if ok && had.Seq == e.Seq && had.Hash == e.Hash {
		return false, nil
	}
	return true, b.cutFrom(e)
}

func (b *Book) cutFrom(e machine.Event) error {
	b.cfg.Log.Error("the state was restored to an older one: the book drops what it does not know", "from", e.Seq)
	tx, err := b.write.Begin()
	if err != nil {
		return fmt.Errorf("cut the book at %d: %w", e.Seq, err)
	}
	defer tx.Rollback() //nolint:errcheck // it does nothing after Commit
	seq := int64(e.Seq)
	for _, statement := range []string{
		`UPDATE jobs SET started = 0 WHERE job IN (SELECT job FROM events WHERE kind = 'started' AND seq >= ?1)
			AND NOT EXISTS (SELECT 1 FROM events e WHERE e.job = jobs.job AND e.job <> 0 AND e.kind = 'started' AND e.seq < ?1)`,
		"DELETE FROM events WHERE seq >= ?",
		"DELETE FROM jobs WHERE first >= ?",
		"UPDATE jobs SET ended = 0, reason = 0, exit = 0, charged = 0, receipt = NULL, final = 0 WHERE final >= ?",
	} {
		if _, err := tx.Exec(statement, seq); err != nil {
			return fmt.Errorf("cut the book at %d: %w", e.Seq, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("cut the book at %d: %w", e.Seq, err)
	}
	before, ok, err := b.eventBefore(e.Seq)
	if err != nil {
		return err
	}
	if !ok {
		before = machine.Event{}
	}
	b.advance(before.Seq, before.Hash)
	want, err := machine.ChainHash(before.Hash, e)
	if err != nil {
		return fmt.Errorf("check event %d: %w", e.Seq, err)
	}
	if before.Seq+1 == e.Seq && want != e.Hash {
		// What came before is another history too: it stays, marked as not followed by this one.
		if _, err := b.write.Exec("INSERT OR REPLACE INTO holes (first, last) VALUES (?, ?)", seq, seq-1); err != nil {
			return fmt.Errorf("write down a break: %w", err)
		}
		b.mu.Lock()
		b.hole = true
		b.mu.Unlock()
		return b.store([]machine.Event{e})
	}
	return nil
}
