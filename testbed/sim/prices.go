package sim

import (
	"math/big"
	"slices"
	"sort"

	"github.com/coinop/coinop/funding"
)

// prices is a pool's price over time as it was announced: the plainest way to meter.
type prices struct {
	from  []funding.Millis
	price []funding.Rate
}

func (p *prices) set(at funding.Millis, price funding.Rate) {
	p.from, p.price = append(p.from, at), append(p.price, price)
}

func (p *prices) now() funding.Rate {
	if p == nil || len(p.price) == 0 {
		return -1
	}
	return p.price[len(p.price)-1]
}

// after is the first announcement after a time.
func (p *prices) after(at funding.Millis) int {
	return sort.Search(len(p.from), func(i int) bool { return p.from[i] > at })
}

func (p *prices) at(t funding.Millis) funding.Rate {
	if i := p.after(t); i > 0 {
		return p.price[i-1]
	}
	return 0
}

// lowest is the lowest price from a time on.
func (p *prices) lowest(from funding.Millis) funding.Rate {
	low := p.at(from)
	for _, price := range p.price[p.after(from):] {
		low = min(low, price)
	}
	return low
}

// upTo are the prices as they were announced up to a time.
func (p *prices) upTo(at funding.Millis) *prices {
	n := p.after(at)
	return &prices{from: p.from[:n], price: p.price[:n]}
}

// sum adds up price × milliseconds over a stretch of time, piece by piece.
func (p *prices) sum(from, to funding.Millis) *big.Int {
	total := new(big.Int)
	for i := p.after(from); from < to; i++ {
		until := to
		if i < len(p.from) {
			until = min(to, p.from[i])
		}
		if i > 0 {
			piece := new(big.Int).Mul(big.NewInt(int64(p.price[i-1])), big.NewInt(int64(until-from)))
			total.Add(total, piece)
		}
		from = until
	}
	return total
}

// cost is a weight times a sum of prices, rounded up once to micro-units.
func cost(w funding.Weight, sum *big.Int) funding.Amount {
	total := new(big.Int).Mul(sum, big.NewInt(int64(w)))
	total.Add(total, big.NewInt(999_999))
	return funding.Amount(total.Div(total, big.NewInt(1_000_000)).Int64())
}

// trimPrices forgets what no open run can be metered by any more.
func (w *world) trimPrices() {
	oldest := w.now
	for _, r := range w.runs {
		oldest = min(oldest, r.placed)
	}
	for _, pool := range w.view.Pools() {
		if p := w.prices[pool.ID]; p != nil {
			keep := max(0, p.after(oldest)-1)
			p.from, p.price = slices.Clone(p.from[keep:]), slices.Clone(p.price[keep:])
		}
	}
}
