package book

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

const (
	// checkLot is how many events are checked at once.
	checkLot = 1024
	// checkRest is how long the check rests after each lot, in times of what that took: it must not be felt.
	checkRest = 3
)

// keepChecking checks the whole file at the start and once a day: SQLite notices a page that makes no sense, when it comes
// to it, and neither another number in a row nor a page that nobody asks for.
func (b *Book) keepChecking(ctx context.Context) {
	for ctx.Err() == nil {
		err := b.check(ctx)
		b.suspect(err)
		if err != nil && !damaged(err) && ctx.Err() == nil {
			b.cfg.Log.Warn("check the book", "file", b.cfg.Path, "error", err)
		}
		b.pause(ctx, b.cfg.Check)
	}
}

// check walks over all events and then over all pages.
func (b *Book) check(ctx context.Context) error {
	w := walk{started: map[scheduler.JobID]funding.Millis{}}
	for more := true; more; {
		began := time.Now()
		var err error
		if more, err = b.checkLot(ctx, &w); err != nil {
			return err
		}
		b.pause(ctx, checkRest*time.Since(began))
	}
	b.files.RLock()
	defer b.files.RUnlock()
	if b.read == nil {
		return errNoFile
	}
	if err := checkTables(ctx, b.read); err != nil {
		return err
	}
	var said string
	if err := b.read.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
		return fmt.Errorf("check the book's pages: %w", err)
	}
	if said != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, said)
	}
	return nil
}

// checkTables holds the tables' own description against that of a book which was just made.
func checkTables(ctx context.Context, db *sql.DB) error {
	fresh, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		return fmt.Errorf("check the tables: %w", err)
	}
	defer fresh.Close()
	fresh.SetMaxOpenConns(1) // each connection has a memory of its own
	var made, found string
	const text = "SELECT group_concat(type || name || tbl_name || coalesce(sql, ''), '; ') FROM (SELECT * FROM sqlite_schema ORDER BY name)"
	if _, err = fresh.ExecContext(ctx, schema); err == nil {
		err = fresh.QueryRowContext(ctx, text).Scan(&made)
	}
	if err == nil {
		err = db.QueryRowContext(ctx, text).Scan(&found)
	}
	if err != nil {
		return fmt.Errorf("check the tables: %w", err)
	}
	if found != made {
		return fmt.Errorf("the tables are described otherwise than they were made: %w", errDamaged)
	}
	return nil
}

// walk is how far a check has come.
type walk struct {
	last    machine.Event // the newest that was checked; Seq zero: none
	started map[scheduler.JobID]funding.Millis
	holes   map[uint64]uint64 // last by first
}

// checkLot checks the events behind the last one, as they are at one moment. It says whether there may be more.
func (b *Book) checkLot(ctx context.Context, w *walk) (more bool, err error) {
	b.files.RLock()
	defer b.files.RUnlock()
	if b.read == nil {
		return false, errNoFile
	}
	tx, err := b.read.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("check the book: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	events, err := lotFrom(ctx, tx, w.last.Seq)
	if err != nil {
		return false, err
	}
	if w.last.Seq > 0 {
		if len(events) == 0 || events[0].Seq != w.last.Seq || events[0].Hash != w.last.Hash {
			// The book was cut or made anew since the last lot: from the beginning.
			*w = walk{started: map[scheduler.JobID]funding.Millis{}}
			return true, nil
		}
		events = events[1:]
	}
	if w.holes, err = holesIn(ctx, tx); err != nil {
		return false, err
	}
	line, err := tx.PrepareContext(ctx, `SELECT pool, pot, bid, weight, submitted, started, ended, reason, exit, charged,
		receipt, first, final FROM jobs WHERE job = ?`)
	if err != nil {
		return false, fmt.Errorf("check the jobs: %w", tables(err))
	}
	defer line.Close()
	for _, e := range events {
		if !w.fits(e) {
			return false, fmt.Errorf("event %d does not follow event %d: %w", e.Seq, w.last.Seq, errDamaged)
		}
		if err := w.checkJob(ctx, line, e); err != nil {
			return false, err
		}
		w.last = e
	}
	return len(events) > 0, nil
}

// lotFrom reads events from a number on, and holds their columns against them.
func lotFrom(ctx context.Context, tx *sql.Tx, seq uint64) ([]machine.Event, error) {
	rows, err := tx.QueryContext(ctx, "SELECT seq, at, kind, job, pot, pool, body FROM events WHERE seq >= ? ORDER BY seq LIMIT ?", int64(seq), checkLot)
	if err != nil {
		return nil, fmt.Errorf("check the events: %w", tables(err))
	}
	defer rows.Close()
	var list []machine.Event
	for rows.Next() {
		var said, e machine.Event
		var body sql.RawBytes
		err := rows.Scan(&said.Seq, &said.At, &said.Kind, &said.Job, &said.Pot, &said.Pool, &body)
		if err == nil {
			err = cbor.Unmarshal(body, &e)
		}
		if err != nil {
			return nil, fmt.Errorf("event behind %d: %w", seq, spoilt(ctx, err))
		}
		if e.Seq != said.Seq || e.At != said.At || e.Kind != said.Kind || e.Job != said.Job || e.Pot != said.Pot || e.Pool != said.Pool {
			return nil, fmt.Errorf("event %d is not what its columns say: %w", said.Seq, errDamaged)
		}
		list = append(list, e)
		seq = e.Seq
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("check the events behind %d: %w", seq, err)
	}
	return list, nil
}

func holesIn(ctx context.Context, tx *sql.Tx) (map[uint64]uint64, error) {
	rows, err := tx.QueryContext(ctx, "SELECT first, last FROM holes")
	if err != nil {
		return nil, fmt.Errorf("check the holes: %w", tables(err))
	}
	defer rows.Close()
	holes := map[uint64]uint64{}
	for rows.Next() {
		var first, last uint64
		if err := rows.Scan(&first, &last); err != nil {
			return nil, fmt.Errorf("check the holes: %w", spoilt(ctx, err))
		}
		holes[first] = last
	}
	return holes, rows.Err()
}

// fits says whether an event follows the last one, or a hole that was written down.
func (w *walk) fits(e machine.Event) bool {
	if e.Seq == w.last.Seq+1 && follows(w.last.Hash, e) {
		return true
	}
	last, ok := w.holes[w.last.Seq+1]
	return ok && last+1 == e.Seq
}

// checkJob holds a job's line against the events that it is the sum of.
func (w *walk) checkJob(ctx context.Context, line *sql.Stmt, e machine.Event) error {
	switch e.Kind {
	case machine.EventStarted:
		if _, ok := w.started[e.Job]; !ok {
			w.started[e.Job] = e.At
		}
		return nil
	case machine.EventSubmitted, machine.EventEnded:
	default:
		return nil
	}
	var j Job
	var first, final uint64
	err := line.QueryRowContext(ctx, int64(e.Job)).Scan(&j.Pool, &j.Pot, &j.Bid, &j.Weight, &j.Submitted, &j.Started, &j.Ended,
		&j.Reason, &j.Exit, &j.Charged, &j.Receipt, &first, &final)
	var same bool
	switch {
	case errors.Is(err, sql.ErrNoRows):
		same = e.Kind == machine.EventEnded && len(w.holes) > 0 // its submission may lie in a hole
	case err != nil:
		return fmt.Errorf("check job %d: %w", e.Job, spoilt(ctx, err))
	case e.Kind == machine.EventSubmitted:
		same = first == e.Seq && j.Pool == e.Pool && j.Pot == e.Pot && j.Bid == e.Rate && j.Weight == e.Weight && j.Submitted == e.At
	default:
		same = final == e.Seq && j.Ended == e.At && j.Reason == e.Reason && j.Exit == e.Exit && j.Charged == e.Amount &&
			bytes.Equal(j.Receipt, e.Body) && (j.Started == w.started[e.Job] || len(w.holes) > 0)
		delete(w.started, e.Job)
	}
	if !same {
		return fmt.Errorf("the line of job %d is not what event %d says: %w", e.Job, e.Seq, errDamaged)
	}
	return nil
}
