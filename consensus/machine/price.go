package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Price sets a pool's price from now on. A price above the lowest effective bid of the spot runs is refused.
type Price struct {
	Pool  scheduler.PoolID `cbor:"1,keyasint"`
	Price funding.Rate     `cbor:"2,keyasint"`
}

// PriceAnswer is the pool's price after the entry.
type PriceAnswer struct {
	Price funding.Rate `cbor:"1,keyasint"`
}

// Kind is part of [Command].
func (Price) Kind() Kind { return KindPrice }

func (c Price) apply(tx *Tx, at funding.Millis) (any, error) {
	pool, ok := tx.pools.get(c.Pool)
	if !ok {
		return nil, refuse(CodePoolUnknown, "there is no pool %d", c.Pool)
	}
	if err := c.Price.Check(); err != nil {
		return nil, refuse(CodeInvalid, "%v", err)
	}
	// Nobody pays more than its bid; where nobody pays, the price shows the floor.
	most, ok := scheduler.Lowest(tx.scheduler, c.Pool)
	if !ok {
		most = max(pool.Floor, min(pool.Price, c.Price))
	}
	if c.Price > most {
		return nil, refuse(CodePriceAboveL, "a price of %d is above %d, the lowest bid that pays it", c.Price, most)
	}
	if least := min(pool.Floor, most); c.Price < least {
		return nil, refuse(CodeInvalid, "a price of %d is below the floor %d, and no bid calls for it", c.Price, pool.Floor)
	}
	if next, moves := scheduler.NextPrice(pool, c.Price, at); c.Price != pool.Price && (!moves || next != c.Price) {
		return nil, refuse(CodeStale, "the price of pool %s rose at %d and rises once in %d ms", pool.Name, pool.RaisedAt, pool.Tick)
	}
	if err := tx.setPrice(*pool, c.Price, at); err != nil {
		return nil, err
	}
	return PriceAnswer{Price: c.Price}, nil
}

// setPrice gives a pool another price from now on. However many runs there are, it is one record
// and one breakpoint: what they owe is read from the index.
func (tx *Tx) setPrice(pool scheduler.Pool, price funding.Rate, at funding.Millis) error {
	before, _ := tx.series.get(pool.ID)
	after, err := before.Set(at, price)
	if err != nil {
		return err
	}
	tx.series.put(pool.ID, after)
	if price > pool.Price {
		pool.RaisedAt = at
	}
	changed := price != pool.Price
	pool.Price = price
	tx.pools.put(pool.ID, &pool)
	if changed {
		tx.emit(Event{Kind: EventPrice, Pool: pool.ID, Rate: price})
	}
	return nil
}
