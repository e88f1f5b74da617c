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
	if err := pool.Validate(); err != nil {
		return nil, refuse(CodeInvalid, "%v", err)
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
