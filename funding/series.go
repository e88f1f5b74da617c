package funding

import (
	"fmt"
	"slices"
	"sort"
)

// Point is a moment at which a pool's price changed, with the index it had come to.
type Point struct {
	At    Millis `cbor:"1,keyasint"`
	Price Rate   `cbor:"2,keyasint"` // from At on
	Index Index  `cbor:"3,keyasint"` // at At
}

// Series is a pool's price over time. It is immutable: methods return a new one.
type Series struct {
	Points []Point `cbor:"1,keyasint"`
}

// last is the place of the point in force at t, or -1 before the first.
func (s Series) last(t Millis) int {
	return sort.Search(len(s.Points), func(i int) bool { return s.Points[i].At > t }) - 1
}

// At is the index at a time. Before the first point it stands still.
func (s Series) At(t Millis) Index {
	i := s.last(t)
	if i < 0 {
		if len(s.Points) == 0 {
			return Index{}
		}
		return s.Points[0].Index
	}
	p := s.Points[i]
	// A price below 2^40 for less than 2^63 ms stays below 2^103, so over any history it fits.
	index, err := p.Index.After(p.Price, t-p.At)
	if err != nil {
		panic(fmt.Sprintf("index at %d: %v", t, err))
	}
	return index
}

// PriceAt is the price in force at a time.
func (s Series) PriceAt(t Millis) Rate {
	i := s.last(t)
	if i < 0 {
		return 0
	}
	return s.Points[i].Price
}

// Set gives the series another price from a time on. History is not rewritten: the time may not
// lie before the last point.
func (s Series) Set(at Millis, price Rate) (Series, error) {
	if err := price.Check(); err != nil {
		return s, fmt.Errorf("set price: %w", err)
	}
	n := len(s.Points)
	if n == 0 {
		return Series{Points: []Point{{At: at, Price: price}}}, nil
	}
	last := s.Points[n-1]
	switch {
	case at < last.At:
		return s, fmt.Errorf("set price at %d, before the last change at %d: %w", at, last.At, ErrRange)
	case price == last.Price:
		return s, nil
	case at == last.At:
		points := slices.Clone(s.Points)
		points[n-1].Price = price
		return Series{Points: points}, nil
	}
	// Clipped, so that two series made of this one never share a tail.
	return Series{Points: append(slices.Clip(s.Points), Point{At: at, Price: price, Index: s.At(at)})}, nil
}

// Prune forgets what only times before a moment need.
func (s Series) Prune(before Millis) Series {
	i := s.last(before)
	if i <= 0 {
		return s
	}
	return Series{Points: slices.Clone(s.Points[i:])}
}

// When is the last millisecond at which the index has not passed i, at the current price; false
// where it never will.
func (s Series) When(i Index) (Millis, bool) {
	n := sort.Search(len(s.Points), func(k int) bool { return s.Points[k].Index.Cmp(i) > 0 }) - 1
	if n < 0 {
		return 0, false
	}
	p := s.Points[n]
	if p.Price == 0 {
		// Only the last point can be: the index of the next would not lie beyond i.
		return 0, false
	}
	left, err := i.Sub(p.Index)
	if err != nil {
		panic(fmt.Sprintf("when the index comes to %v: %v", i, err))
	}
	d, ok := left.wide().down(uint64(p.Price)).int63()
	if !ok || Millis(d) > MillisMax-p.At {
		return 0, false
	}
	return p.At + Millis(d), true
}
