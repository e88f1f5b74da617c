package scheduler

import (
	"github.com/coinop/coinop/funding"
)

// claim is waiting work as the price sees it, ordered so that the best of a pot in a shape is first.
type claim struct {
	pot   funding.PotID
	bid   funding.Rate
	job   JobID
	shape ShapeID
	pool  PoolID
}

func claimLess(a, b claim) bool {
	switch {
	case a.shape != b.shape:
		return a.shape < b.shape
	case a.pot != b.pot:
		return a.pot < b.pot
	case a.bid != b.bid:
		return a.bid > b.bid
	}
	return a.job < b.job
}

// stand is the best bid that a pot has waiting in a pool, among the work that fits its machines.
type stand struct {
	pot   funding.PotID
	bid   funding.Rate
	pool  PoolID
	shape ShapeID // zero in the list of heads
}

func standLess(a, b stand) bool {
	switch {
	case a.pool != b.pool:
		return a.pool < b.pool
	case a.pot != b.pot:
		return a.pot < b.pot
	case a.bid != b.bid:
		return a.bid > b.bid
	}
	return a.shape < b.shape
}

func headLess(a, b stand) bool {
	switch {
	case a.pool != b.pool:
		return a.pool < b.pool
	case a.bid != b.bid:
		return a.bid > b.bid
	}
	return a.pot < b.pot
}

// spotRun is a run that pays the pool's price, the last in the pool's order first.
type spotRun struct {
	bid  funding.Rate
	job  JobID
	run  RunID
	pool PoolID
}

func spotRunLess(a, b spotRun) bool {
	switch {
	case a.pool != b.pool:
		return a.pool < b.pool
	case a.bid != b.bid:
		return a.bid < b.bid
	case a.job != b.job:
		return a.job > b.job
	}
	return a.run > b.run
}

// RunChanged takes a run's new record; either may be nil.
func (x *Index) RunChanged(old, new *Run) {
	was, is := counts(old), counts(new)
	if was && is && spotRunOf(old) == spotRunOf(new) {
		return
	}
	if was {
		x.spots.Delete(spotRunOf(old))
	}
	if is {
		x.spots.Set(spotRunOf(new))
	}
}

// counts says whether a run's bid bounds the price: a paused one keeps its place and counts, one
// under notice is on its way out.
func counts(r *Run) bool {
	return r != nil && !r.Firm && (r.State == RunPlaced || r.State == RunRunning || r.State == RunPaused)
}

func spotRunOf(r *Run) spotRun { return spotRun{r.Bid, r.Job, r.ID, r.Pool} }

// reclaim enters a job's waiting work into the price's lists, or takes it out.
func (x *Index) reclaim(j *Job, enter bool) {
	c := claim{j.Pot, j.Effective(), j.ID, j.Shape, j.Pool}
	s, _ := find(x.shapes, c.shape)
	before, had := x.bestClaim(c.shape, c.pot)
	if enter {
		x.claims.Set(c)
	} else {
		x.claims.Delete(c)
	}
	after, has := x.bestClaim(c.shape, c.pot)
	if !s.fits || had && has && before.bid == after.bid {
		return
	}
	if had {
		x.standing(before, false)
	}
	if has {
		x.standing(after, true)
	}
}

func (x *Index) bestClaim(s ShapeID, pot funding.PotID) (claim, bool) {
	c, ok := x.claims.First(claim{shape: s, pot: pot, bid: topRate})
	return c, ok && c.shape == s && c.pot == pot
}

// topRate sorts before any bid that there is.
const topRate = 2*funding.RateMax + 1

// eachPot visits the best claim of each pot that has work of a shape waiting.
func (x *Index) eachPot(s ShapeID, visit func(claim)) {
	c, ok := x.claims.First(claim{shape: s, bid: topRate})
	for ok && c.shape == s {
		visit(c)
		c, ok = x.claims.First(claim{shape: s, pot: c.pot + 1, bid: topRate})
	}
}

// standing enters a pot's best claim of a shape, or takes it out, and keeps the pot's head in step.
func (x *Index) standing(c claim, enter bool) {
	before, had := x.bestStand(c.pool, c.pot)
	s := stand{c.pot, c.bid, c.pool, c.shape}
	if enter {
		x.stands.Set(s)
	} else {
		x.stands.Delete(s)
	}
	after, has := x.bestStand(c.pool, c.pot)
	if had && has && before.bid == after.bid {
		return
	}
	if had {
		x.heads.Delete(stand{pot: c.pot, bid: before.bid, pool: c.pool})
	}
	if has {
		x.heads.Set(stand{pot: c.pot, bid: after.bid, pool: c.pool})
	}
}

func (x *Index) bestStand(p PoolID, pot funding.PotID) (stand, bool) {
	s, ok := x.stands.First(stand{pool: p, pot: pot, bid: topRate})
	return s, ok && s.pool == p && s.pot == pot
}

// lowest is the run that would be the first to go.
func (x *Index) lowest(p PoolID) (spotRun, bool) {
	r, ok := x.spots.First(spotRun{pool: p, bid: -1})
	return r, ok && r.pool == p
}

// Lowest is L, the lowest effective bid of a spot run of the pool that is not under notice.
func Lowest(x *Index, p PoolID) (funding.Rate, bool) {
	r, ok := x.lowest(p)
	if !ok {
		return 0, false
	}
	return r.bid, true
}

// Price is what the pool's spot runs should pay now, before the rule that it rises once a tick:
// min(L, max(floor, B)). B is the highest bid of waiting work that could take the place of L's run:
// held for, not too large for every machine, and of another pot, so that nobody's own waiting work
// raises its own price. Without L nobody pays, and the price shows the floor.
func Price(x *Index, p PoolID) funding.Rate {
	pool, ok := find(x.pools, p)
	if !ok {
		return 0
	}
	low, ok := x.lowest(p)
	if !ok {
		return pool.Floor
	}
	var own funding.PotID
	if j, ok := find(x.jobs, low.job); ok {
		own = j.Pot
	}
	price := pool.Floor
	if b, ok := x.rival(p, own); ok {
		price = max(price, b)
	}
	return min(low.bid, price)
}

// rival is B, for a lowest run of pot own.
func (x *Index) rival(p PoolID, own funding.PotID) (funding.Rate, bool) {
	var bid funding.Rate
	found := false
	x.heads.Ascend(stand{pool: p, bid: topRate}, func(s stand) bool {
		if s.pool != p {
			return false
		}
		bid, found = s.bid, s.pot != own
		return s.pot == own // at most once: a pot has one head
	})
	return bid, found
}

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
