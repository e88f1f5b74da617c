package book

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Job is a job's line in the history.
type Job struct {
	ID        scheduler.JobID
	Pool      scheduler.PoolID
	Pot       funding.PotID
	Bid       funding.Rate
	Weight    funding.Weight
	Submitted funding.Millis
	Started   funding.Millis // zero: never
	Ended     funding.Millis // zero: not yet
	Reason    scheduler.Reason
	Exit      int32
	Charged   funding.Amount
	Receipt   []byte // CBOR of funding.Receipt, once ended
}

// Query narrows a list of finished jobs, the newest first.
type Query struct {
	Since  funding.Millis // ended at or after
	Pool   scheduler.PoolID
	IDs    []scheduler.JobID // only these
	Before scheduler.JobID   // zero: from the newest
	Limit  int
}

const limitMax = 10_000

// Jobs lists finished jobs by number, the highest first.
func (b *Book) Jobs(ctx context.Context, q Query) (_ []Job, err error) {
	b.files.RLock()
	defer b.files.RUnlock()
	defer func() { b.suspect(err) }()
	if b.read == nil {
		return nil, errNoFile
	}
	text := "SELECT job, pool, pot, bid, weight, submitted, started, ended, reason, exit, charged, receipt FROM jobs WHERE ended <> 0 AND ended >= ?"
	args := []any{int64(q.Since)}
	if q.Pool != 0 {
		text, args = text+" AND pool = ?", append(args, int64(q.Pool))
	}
	if q.Before != 0 {
		text, args = text+" AND job < ?", append(args, int64(q.Before))
	}
	if q.IDs != nil {
		ids, err := jsonNumbers(q.IDs)
		if err != nil {
			return nil, err
		}
		text, args = text+" AND job IN (SELECT value FROM json_each(?))", append(args, ids)
	}
	rows, err := b.read.QueryContext(ctx, text+" ORDER BY job DESC LIMIT ?", append(args, limit(q.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	defer rows.Close()
	var list []Job
	for rows.Next() {
		var j Job
		if err := rows.Scan(&j.ID, &j.Pool, &j.Pot, &j.Bid, &j.Weight, &j.Submitted, &j.Started, &j.Ended, &j.Reason, &j.Exit, &j.Charged, &j.Receipt); err != nil {
			return nil, fmt.Errorf("read the history: %w", spoilt(ctx, err))
		}
		list = append(list, j)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	return list, nil
}

// Job is one finished job; false if the book knows none of this number.
func (b *Book) Job(ctx context.Context, id scheduler.JobID) (Job, bool, error) {
	list, err := b.Jobs(ctx, Query{IDs: []scheduler.JobID{id}, Limit: 1})
	if err != nil || len(list) == 0 {
		return Job{}, false, err
	}
	return list[0], true, nil
}

// After returns up to limit events after seq; of one job where job is not zero.
func (b *Book) After(ctx context.Context, seq uint64, job scheduler.JobID, most int) ([]machine.Event, error) {
	if job != 0 {
		return b.events(ctx, "SELECT body FROM events WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?", int64(job), int64(seq), limit(most))
	}
	return b.events(ctx, "SELECT body FROM events WHERE seq > ? ORDER BY seq LIMIT ?", int64(seq), limit(most))
}

// AfterOf is After, and of a job whose pot is its own also what was paid into that by who knows only the fund id.
func (b *Book) AfterOf(ctx context.Context, seq uint64, job scheduler.JobID, pot funding.PotID, most int) ([]machine.Event, error) {
	if job == 0 || pot == 0 {
		return b.After(ctx, seq, job, most)
	}
	return b.events(ctx, `SELECT body FROM (
			SELECT seq, body FROM events WHERE job = ?1 AND job <> 0 AND seq > ?2
			UNION ALL SELECT seq, body FROM events WHERE kind = 'deposit' AND pot = ?3 AND job = 0 AND seq > ?2
		) ORDER BY seq LIMIT ?4`, int64(job), int64(seq), int64(pot), limit(most))
}

// Transfers returns up to limit transfers of a pot after seq.
func (b *Book) Transfers(ctx context.Context, pot funding.PotID, seq uint64, most int) ([]machine.Event, error) {
	return b.events(ctx, "SELECT body FROM events WHERE kind = 'transfer' AND pot = ? AND seq > ? ORDER BY seq LIMIT ?",
		int64(pot), int64(seq), limit(most))
}

// Prices returns a pool's price events since a time, the oldest first, with the one in force then.
func (b *Book) Prices(ctx context.Context, pool scheduler.PoolID, since funding.Millis, most int) ([]machine.Event, error) {
	return b.events(ctx, `SELECT body FROM events WHERE kind IN ('price', 'pool') AND pool = ?1 AND seq >= coalesce(
		(SELECT max(seq) FROM events WHERE kind IN ('price', 'pool') AND pool = ?1 AND at <= ?2), 0) ORDER BY seq LIMIT ?3`,
		int64(pool), int64(since), limit(most))
}

func limit(n int) int {
	if n <= 0 || n > limitMax {
		return limitMax
	}
	return n
}

func (b *Book) events(ctx context.Context, text string, args ...any) (_ []machine.Event, err error) {
	b.files.RLock()
	defer b.files.RUnlock()
	defer func() { b.suspect(err) }()
	if b.read == nil {
		return nil, errNoFile
	}
	rows, err := b.read.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	defer rows.Close()
	var list []machine.Event
	for rows.Next() {
		var body sql.RawBytes
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		var e machine.Event
		if err := cbor.Unmarshal(body, &e); err != nil {
			return nil, fmt.Errorf("read events: %w", spoilt(ctx, err))
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return list, nil
}

// eventBefore is the newest event below a number, as Run sees it.
func (b *Book) eventBefore(seq uint64) (machine.Event, bool, error) {
	var e machine.Event
	var body []byte
	err := b.write.QueryRow("SELECT body FROM events WHERE seq < ? ORDER BY seq DESC LIMIT 1", int64(seq)).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return e, false, nil
	}
	if err != nil {
		return e, false, fmt.Errorf("read the event before %d: %w", seq, err)
	}
	if err := cbor.Unmarshal(body, &e); err != nil {
		return e, false, fmt.Errorf("read the event before %d: %w", seq, spoilt(context.Background(), err))
	}
	return e, true, nil
}
