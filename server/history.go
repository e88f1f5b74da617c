package server

import (
	"context"
	"errors"
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

// past answers from this book, or from a server whose book is whole.
func (s *Server) past() *elsewhere {
	return &elsewhere{behind: s.book.CatchingUp, client: s.peers, here: s.recall, peers: func() []string {
		var list []string
		for _, p := range s.node.Peers() {
			list = append(list, "http://"+p.ID)
		}
		return list
	}}
}

// writtenMax is how long an answer waits for what the state knows already: the book gathers for some milliseconds. A book
// that is further behind answers with what it has.
const writtenMax = time.Second

// recall answers from this server's own book, with what had happened when it was asked.
func (s *Server) recall(ctx context.Context, q asked) (told, error) {
	written, cancel := context.WithTimeout(ctx, writtenMax)
	defer cancel()
	if err := s.book.WaitFor(written, s.node.View().Seq()); err != nil && ctx.Err() != nil {
		return told{}, err
	}
	switch {
	case q.Job != nil:
		job, ok, err := s.book.Job(ctx, *q.Job)
		if err != nil || !ok {
			return told{}, err
		}
		return told{Jobs: []client.HistoryJob{s.line(job)}}, nil
	case q.Jobs != nil:
		return s.recallJobs(ctx, *q.Jobs)
	case q.Prices != nil:
		return s.recallPrices(ctx, *q.Prices)
	case q.Events != nil:
		return s.recallEvents(ctx, *q.Events)
	}
	return told{}, errors.New("nothing was asked of the history")
}

func (s *Server) recallJobs(ctx context.Context, q api.HistoryQuery) (told, error) {
	query := book.Query{Pool: q.Pool, Before: q.Before, Limit: q.Limit}
	if !q.Since.IsZero() {
		query.Since = funding.Millis(q.Since.UnixMilli())
	}
	jobs, err := s.book.Jobs(ctx, query)
	if err != nil {
		return told{}, err
	}
	lines := make([]client.HistoryJob, 0, len(jobs))
	for _, j := range jobs {
		lines = append(lines, s.line(j))
	}
	return told{Jobs: lines}, nil
}

func (s *Server) recallPrices(ctx context.Context, q pricesAsked) (told, error) {
	changes, err := s.book.Prices(ctx, q.Pool, funding.Millis(q.Since), q.Limit)
	if err != nil {
		return told{}, err
	}
	prices := make([]client.Price, 0, len(changes))
	for _, e := range changes {
		prices = append(prices, client.Price{At: time.UnixMilli(int64(e.At)).UTC(), PriceMicro: int64(e.Rate)})
	}
	return told{Prices: prices}, nil
}

func (s *Server) recallEvents(ctx context.Context, q eventsAsked) (told, error) {
	through := s.book.Through()
	list, err := s.book.AfterOf(ctx, q.After, q.Job, q.Pot, q.Limit)
	if err != nil {
		return told{}, err
	}
	last := max(q.After, through)
	if n := len(list); n > 0 && (n >= q.Limit || list[n-1].Seq > last) {
		last = list[n-1].Seq
	}
	return told{Events: list, Last: last}, nil
}

// events are what the book keeps.
type events struct{ s *Server }

// After is part of [api.Events]. What the book has not written yet is waited for by Wait, so that nobody sees a gap.
func (e events) After(ctx context.Context, q api.EventsQuery) ([]machine.Event, uint64, error) {
	t, err := e.s.past().answer(ctx, asked{Events: &eventsAsked{After: q.After, Job: q.Job, Pot: q.Pot, Limit: q.Limit}})
	if err != nil {
		return nil, q.After, err
	}
	return t.Events, t.Last, nil
}

// Wait is part of [api.Events].
func (e events) Wait(ctx context.Context, seq uint64) error { return e.s.book.WaitFor(ctx, seq+1) }

// history answers for what the state has forgotten.
type history struct{ s *Server }

func (h history) Job(ctx context.Context, id scheduler.JobID) (client.HistoryJob, bool, error) {
	t, err := h.s.past().answer(ctx, asked{Job: &id})
	if err != nil || len(t.Jobs) == 0 {
		return client.HistoryJob{}, false, err
	}
	return t.Jobs[0], true, nil
}

func (h history) Jobs(ctx context.Context, q api.HistoryQuery) ([]client.HistoryJob, error) {
	t, err := h.s.past().answer(ctx, asked{Jobs: &q})
	return append([]client.HistoryJob{}, t.Jobs...), err
}

func (h history) Prices(ctx context.Context, pool scheduler.PoolID, since time.Time, limit int) ([]client.Price, error) {
	q := pricesAsked{Pool: pool, Limit: limit}
	if !since.IsZero() {
		q.Since = since.UnixMilli()
	}
	t, err := h.s.past().answer(ctx, asked{Prices: &q})
	return append([]client.Price{}, t.Prices...), err
}

// line is what is public of a finished job.
func (s *Server) line(j book.Job) client.HistoryJob {
	line := client.HistoryJob{
		Job: uint64(j.ID), State: scheduler.JobDone.String(), Reason: j.Reason.String(),
		BidMicro: int64(j.Bid), WeightMilli: int64(j.Weight), Submitted: time.UnixMilli(int64(j.Submitted)).UTC(),
		Started: timeOf(j.Started), Ended: timeOf(j.Ended),
	}
	if pool, ok := s.node.View().Pool(j.Pool); ok {
		line.Pool = pool.Name
	}
	if j.Ended == 0 {
		line.State, line.Reason = scheduler.JobQueued.String(), ""
	} else if j.Started != 0 || j.Reason == scheduler.ReasonStartFailed {
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
