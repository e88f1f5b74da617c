package book

import (
	"context"
	"database/sql"

	"github.com/fxamacker/cbor/v2"

	"github.com/coinop/coinop/consensus/machine"
)

// remains is a damaged book that was set aside. What of it still follows the chain is worth as much as a peer's. Where
// there is none, it is nil and has nothing.
type remains struct {
	path string
	db   *sql.DB
}

func (b *Book) openRemains() *remains {
	list := b.asides()
	if len(list) == 0 {
		return nil
	}
	path := list[len(list)-1]
	db, err := sql.Open("sqlite3", "file:"+path+"?_query_only=true&_busy_timeout=5000")
	if err != nil {
		b.cfg.Log.Warn("read what is left of a damaged book", "file", path, "error", err)
		return nil
	}
	db.SetMaxOpenConns(1)
	return &remains{path: path, db: db}
}

func (r *remains) close() {
	if r != nil {
		_ = r.db.Close() // nothing was written
	}
}

// Name is part of Peer.
func (r *remains) Name() string {
	if r == nil {
		return "none"
	}
	return r.path
}

// at is one event, if it can be read. One at a time: a page that cannot be read must not hide those behind it.
func (r *remains) at(ctx context.Context, seq uint64) (e machine.Event, ok bool) {
	var body []byte
	err := r.db.QueryRowContext(ctx, "SELECT body FROM events WHERE seq = ?", int64(seq)).Scan(&body)
	ok = err == nil && cbor.Unmarshal(body, &e) == nil && e.Seq == seq
	return e, ok
}

// Events is part of Peer. What cannot be read, or does not follow, is not there.
func (r *remains) Events(ctx context.Context, seq uint64, limit int) ([]machine.Event, error) {
	if r == nil {
		return nil, nil
	}
	var before machine.Event
	if seq > 0 {
		before, _ = r.at(ctx, seq)
	}
	var list []machine.Event
	for len(list) < limit {
		e, ok := r.at(ctx, seq+1)
		if !ok || !follows(before.Hash, e) {
			break
		}
		list = append(list, e)
		before, seq = e, e.Seq
	}
	return list, ctx.Err()
}

// unbroken is the first event of the piece that next follows; next itself where there is no such piece behind first.
func (r *remains) unbroken(ctx context.Context, next machine.Event, first uint64) machine.Event {
	if r == nil {
		return next
	}
	sure := next // only what follows something is sure to be as it was written
	for next.Seq > first {
		before, ok := r.at(ctx, next.Seq-1)
		if !ok || !follows(before.Hash, next) {
			break
		}
		sure, next = next, before
	}
	return sure
}

func follows(before [32]byte, e machine.Event) bool {
	want, err := machine.ChainHash(before, e)
	return err == nil && want == e.Hash
}
