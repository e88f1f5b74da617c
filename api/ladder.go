package api

import (
	"sort"
	"sync"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// ladders are what quotes read: for each pool, how many tasks wait at which bid. They are
// made when somebody asks, at most once a second, and never cost more than a tenth of one processor.
type ladders struct {
	mu    sync.Mutex
	made  time.Time                    // guarded by mu
	rest  time.Duration                // guarded by mu: until they may be made again
	pools map[scheduler.PoolID]*ladder // guarded by mu; the ladders themselves never change
	view  *machine.View                // guarded by mu: what they were made from
}

// ladder is one pool's waiting work, the highest bid first.
type ladder struct {
	steps []step
}

// step is the waiting tasks of one bid; above counts those of this and of higher bids.
type step struct {
	bid   funding.Rate
	tasks int64
	above int64
}

const (
	ladderAge   = time.Second
	ladderShare = 10
)

// ladder is a pool's, at most about a second old, with the view that it was made from.
func (a *API) ladder(pool scheduler.PoolID) (*ladder, *machine.View) {
	l := &a.ladders
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.view == nil || time.Since(l.made) > l.rest {
		began := time.Now()
		l.view = a.node.View()
		l.pools = makeLadders(l.view)
		l.made = time.Now()
		l.rest = max(ladderAge, ladderShare*l.made.Sub(began))
	}
	if found, ok := l.pools[pool]; ok {
		return found, l.view
	}
	return &ladder{}, l.view
}

func makeLadders(v *machine.View) map[scheduler.PoolID]*ladder {
	waiting := map[scheduler.PoolID]map[funding.Rate]int64{}
	v.Jobs(0, func(j *scheduler.Job) bool {
		if n := j.Startable(); n > 0 {
			if waiting[j.Pool] == nil {
				waiting[j.Pool] = map[funding.Rate]int64{}
			}
			waiting[j.Pool][j.Effective()] += int64(n)
		}
		return true
	})
	made := map[scheduler.PoolID]*ladder{}
	for _, p := range v.Pools() {
		made[p.ID] = &ladder{}
	}
	for pool, bids := range waiting {
		l := &ladder{}
		for bid, tasks := range bids {
			l.steps = append(l.steps, step{bid: bid, tasks: tasks})
		}
		sort.Slice(l.steps, func(i, j int) bool { return l.steps[i].bid > l.steps[j].bid })
		var above int64
		for i := range l.steps {
			above += l.steps[i].tasks
			l.steps[i].above = above
		}
		made[pool] = l
	}
	return made
}

// ahead counts the waiting tasks that would start before a new one of this bid: at an equal bid the earlier is first.
func (l *ladder) ahead(bid funding.Rate) int64 {
	n := sort.Search(len(l.steps), func(i int) bool { return l.steps[i].bid < bid })
	if n == 0 {
		return 0
	}
	return l.steps[n-1].above
}

// rungsShown bounds the ladder of a quote.
const rungsShown = 8

// rungs are bids above one's own that would pass somebody, the lowest first.
func (l *ladder) rungs(bid funding.Rate) []funding.Rate {
	var bids []funding.Rate
	n := sort.Search(len(l.steps), func(i int) bool { return l.steps[i].bid < bid })
	for i := n - 1; i >= 0 && len(bids) < rungsShown; i-- {
		if next := l.steps[i].bid + 1; next > bid && next <= funding.RateMax {
			bids = append(bids, next)
		}
	}
	return bids
}
