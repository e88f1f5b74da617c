package scheduler

import "github.com/coinop/coinop/funding"

// NextPrice is what the pool's price becomes at a time when it should be want, and whether that is a
// change: it may fall at once and rises at most once a tick.
func NextPrice(pool *Pool, want funding.Rate, at funding.Millis) (funding.Rate, bool) {
	switch {
	case want < pool.Price:
		return want, true
	case want > pool.Price && (pool.RaisedAt == 0 || at >= pool.RaisedAt+pool.Tick):
		return want, true
	default:
		return pool.Price, false
	}
}
