package api

import (
	"context"
	"errors"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

type quoteInput struct{ Body client.QuoteRequest }
type quoteOutput struct{ Body client.Quote }

func (a *API) postQuote(ctx context.Context, in *quoteInput) (*quoteOutput, error) {
	callerOf(ctx).owes(a.limits.AddressWork)
	q, err := a.quote(ctx, a.recentView(ctx), in.Body)
	if err != nil {
		return nil, err
	}
	return &quoteOutput{q}, nil
}

// quote says what a job would cost. It reads and changes nothing.
func (a *API) quote(_ context.Context, v *machine.View, in client.QuoteRequest) (client.Quote, error) {
	var q client.Quote
	pay, err := payAmount(in.Pay)
	if err != nil {
		return q, err
	}
	s, err := readSpec(v, in.Job, pay)
	if err != nil {
		return q, err
	}
	terms, err := scheduler.Terms(s.pool, s.weight, s.ask)
	if short := (*scheduler.MoneyShort)(nil); errors.As(err, &short) {
		// What is needed is the answer to too little.
		s.ask.Pay = 0
		s.ask.Bid, s.ask.Time = short.Bid, short.Time
		terms, err = scheduler.Terms(s.pool, s.weight, s.ask)
	}
	if err != nil {
		return q, err
	}
	l, _ := a.ladder(s.pool.ID)
	q = client.Quote{
		Pool: s.pool.Name, Mode: modeWord(s.mode), WeightMilli: int64(s.weight), PriceMicro: int64(s.pool.Price),
		FloorMicro: int64(s.pool.Floor), BidMicro: int64(terms.Bid), TimeMs: int64(terms.TimeLimit),
		HoldMicro: int64(terms.Hold), PayUnits: max(1, wholeUnits(terms.Hold)), FeeMicro: int64(terms.Fee),
		Ahead: l.ahead(terms.Bid), At: clock(a.clusterNow(v)),
	}
	shape := s.shape()
	q.Fits = scheduler.Fits(v.Scheduler(), shape)
	q.StartsNow = q.Ahead == 0 && scheduler.HasRoom(v.Scheduler(), shape)
	q.GPUs, q.Parts = s.gpu.Text(s.need), partsOf(s.pool, shape, int64(s.weight))
	q.CostNowMicro = costNow(s, terms)
	for _, bid := range l.rungs(terms.Bid) {
		if rung, ok := rungAt(s, terms, bid); ok {
			rung.Ahead = l.ahead(bid)
			q.Ladder = append(q.Ladder, rung)
		}
	}
	return q, nil
}

// costNow is what all tasks cost at today's price, to their time limit; a stream without one has no end.
func costNow(s spec, terms scheduler.Agreement) int64 {
	price := min(max(s.pool.Price, s.pool.Floor), terms.Bid)
	each, err := price.Cost(s.weight, terms.TimeLimit)
	if err != nil {
		return 0
	}
	all, err := each.Times(int64(s.ask.Tasks))
	if err != nil {
		return 0
	}
	return int64(all + terms.Fee)
}

// rungAt is what the same work holds at another bid.
func rungAt(s spec, terms scheduler.Agreement, bid funding.Rate) (client.Rung, bool) {
	ask := s.ask
	ask.Pay, ask.Bid, ask.Time = 0, bid, terms.TimeLimit
	other, err := scheduler.Terms(s.pool, s.weight, ask)
	if err != nil {
		return client.Rung{}, false
	}
	return client.Rung{BidMicro: int64(bid), HoldMicro: int64(other.Hold)}, true
}
