package server

import (
	"context"
	"path/filepath"
	"time"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/book"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

func (s *Server) bookConfig() book.Config {
	return book.Config{
		Path: filepath.Join(s.config.Dir, "book.db"), Source: s.node, Log: s.config.Log,
		Peers: func() []book.Peer {
			var peers []book.Peer
			for _, p := range s.node.Peers() {
				peers = append(peers, book.HTTPPeer{ID: p.ID, Base: "http://" + p.ID, Client: s.peers})
			}
			return peers
		},
	}
}

// events are what the book keeps.
type events struct{ s *Server }

// After is part of [api.Events]. What the book has not written yet is waited for by Wait, so that nobody sees a gap.
func (e events) After(ctx context.Context, seq uint64, job scheduler.JobID, limit int) ([]machine.Event, uint64, error) {
	through := e.s.book.Through()
	list, err := e.s.book.After(ctx, seq, job, limit)
	if err != nil {
		return nil, seq, err
	}
	last := max(seq, through)
	if n := len(list); n > 0 && (n >= limit || list[n-1].Seq > last) {
		last = list[n-1].Seq
	}
	return list, last, nil
}

// Wait is part of [api.Events].
func (e events) Wait(ctx context.Context, seq uint64) error { return e.s.book.WaitFor(ctx, seq+1) }

// history answers for what the state has forgotten.
type history struct{ s *Server }

func (h history) Job(ctx context.Context, id scheduler.JobID) (client.HistoryJob, bool, error) {
	job, ok, err := h.s.book.Job(ctx, id)
	if err != nil || !ok {
		return client.HistoryJob{}, ok, err
	}
	return h.line(job), true, nil
}

func (h history) Jobs(ctx context.Context, q api.HistoryQuery) ([]client.HistoryJob, error) {
	query := book.Query{Pool: q.Pool, Before: q.Before, Limit: q.Limit}
	if !q.Since.IsZero() {
		query.Since = funding.Millis(q.Since.UnixMilli())
	}
	jobs, err := h.s.book.Jobs(ctx, query)
	if err != nil {
		return nil, err
	}
	lines := make([]client.HistoryJob, 0, len(jobs))
	for _, j := range jobs {
		lines = append(lines, h.line(j))
	}
	return lines, nil
}

// line is what is public of a finished job.
func (h history) line(j book.Job) client.HistoryJob {
	line := client.HistoryJob{
		Job: uint64(j.ID), State: scheduler.JobDone.String(), Reason: j.Reason.String(),
		BidMicro: int64(j.Bid), WeightMilli: int64(j.Weight), Submitted: time.UnixMilli(int64(j.Submitted)).UTC(),
		Started: timeOf(j.Started), Ended: timeOf(j.Ended),
	}
	if pool, ok := h.s.node.View().Pool(j.Pool); ok {
		line.Pool = pool.Name
	}
	if j.Ended == 0 {
		line.State, line.Reason = scheduler.JobQueued.String(), ""
	} else if j.Started != 0 {
		exit := j.Exit
		line.ExitCode = &exit
	}
	return line
}

func timeOf(at funding.Millis) *time.Time {
	if at == 0 {
		return nil
	}
	t := time.UnixMilli(int64(at)).UTC()
	return &t
}

func (h history) Prices(ctx context.Context, pool scheduler.PoolID, since time.Time, limit int) ([]client.Price, error) {
	from := funding.Millis(0)
	if !since.IsZero() {
		from = funding.Millis(since.UnixMilli())
	}
	changes, err := h.s.book.Prices(ctx, pool, from, limit)
	if err != nil {
		return nil, err
	}
	prices := make([]client.Price, 0, len(changes))
	for _, e := range changes {
		prices = append(prices, client.Price{At: time.UnixMilli(int64(e.At)).UTC(), PriceMicro: int64(e.Rate)})
	}
	return prices, nil
}
