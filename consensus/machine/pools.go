package machine

import (
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// PoolsMax bounds the pools of a cluster.
const PoolsMax = 256

// addPool makes a pool, at its floor price.
func (tx *Tx) addPool(pool scheduler.Pool, at funding.Millis) (*scheduler.Pool, error) {
	if err := checkPool(pool); err != nil {
		return nil, err
	}
	if _, taken := tx.poolNames.get(pool.Name); taken {
		return nil, refuse(CodeNameTaken, "there is a pool %s", pool.Name)
	}
	if tx.pools.len() >= PoolsMax {
		return nil, refuse(CodeLimit, "there are %d pools, the limit", PoolsMax)
	}
	prices, err := (funding.Series{}).Set(at, pool.Floor)
	if err != nil {
		return nil, fmt.Errorf("pool %s: %w", pool.Name, err)
	}
	tx.meta.Pool++
	pool.ID, pool.Price, pool.RaisedAt = tx.meta.Pool, pool.Floor, 0
	tx.series.put(pool.ID, prices)
	tx.pools.put(pool.ID, &pool)
	tx.emit(Event{Kind: EventPool, Pool: pool.ID, Rate: pool.Price, Text: pool.Name})
	return &pool, nil
}

// checkPool refuses settings under which nothing could run or be paid.
func checkPool(p scheduler.Pool) error {
	weights := []int64{p.Weights.CPU, p.Weights.Memory, p.Weights.Disk, p.Weights.GPU}
	for _, w := range weights {
		if w < 0 || w > int64(funding.WeightMax) {
			return refuse(CodeInvalid, "a weight of pool %s is %d, allowed are 0 to %d", p.Name, w, int64(funding.WeightMax))
		}
	}
	switch {
	case p.Name == "" || len(p.Name) > 64:
		return refuse(CodeInvalid, "a pool's name has 1 to 64 bytes")
	case p.Admission != scheduler.Open && p.Admission != scheduler.Trusted:
		return refuse(CodeInvalid, "pool %s is neither open nor trusted", p.Name)
	case p.Floor <= 0 || p.Floor > funding.RateMax:
		return refuse(CodeInvalid, "the floor of pool %s is %d, allowed are 1 to %d", p.Name, p.Floor, funding.RateMax)
	case p.DefaultBid < p.Floor || p.DefaultBid > funding.RateMax:
		return refuse(CodeInvalid, "the default bid of pool %s is %d, allowed are its floor %d to %d", p.Name, p.DefaultBid, p.Floor, funding.RateMax)
	case p.SubmitFee < 0 || p.SubmitFee > funding.PotMax:
		return refuse(CodeInvalid, "the submit fee of pool %s is %d", p.Name, p.SubmitFee)
	case p.TimeDefault <= 0 || p.TimeMax < p.TimeDefault || p.TimeMax > funding.MillisMax:
		return refuse(CodeInvalid, "the times of pool %s: 0 < default %d ≤ most %d", p.Name, p.TimeDefault, p.TimeMax)
	case p.KillDelay < 0 || p.PauseGrace < 0 || p.LowFunds < 0 || p.Tranche <= 0 || p.Tick <= 0:
		return refuse(CodeInvalid, "a time of pool %s is not positive", p.Name)
	case max(p.KillDelay, p.PauseGrace, p.LowFunds, p.Tranche, p.Tick) > p.TimeMax:
		return refuse(CodeInvalid, "a time of pool %s is longer than its longest time limit", p.Name)
	case p.ArrayMax < 1 || p.ArrayMax > scheduler.TasksMax:
		return refuse(CodeInvalid, "an array in pool %s has at most %d tasks, allowed are 1 to %d", p.Name, p.ArrayMax, scheduler.TasksMax)
	case len(p.Drivers) == 0 || len(p.Drivers) > 16:
		return refuse(CodeInvalid, "pool %s allows %d drivers, it needs 1 to 16", p.Name, len(p.Drivers))
	}
	return nil
}
