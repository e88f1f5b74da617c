package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// PoolSet makes a pool (ID zero) or changes one. Price and RaisedAt are the machine's own and ignored;
// what an operator may set is in force for what comes after.
type PoolSet struct {
	Pool  scheduler.Pool `cbor:"1,keyasint"`
	Token TokenHash      `cbor:"2,keyasint,omitzero"` // whose decision it is, for the record
}

// PoolSetAnswer names the pool.
type PoolSetAnswer struct {
	Pool scheduler.PoolID `cbor:"1,keyasint"`
}

// Kind is part of [Command].
func (PoolSet) Kind() Kind { return KindPoolSet }

func (c PoolSet) apply(tx *Tx, at funding.Millis) (any, error) {
	if c.Token != (TokenHash{}) {
		if err := tx.checkToken(c.Token, at, RoleOperator); err != nil {
			return nil, err
		}
	}
	if c.Pool.ID == 0 {
		pool, err := tx.addPool(c.Pool, at)
		if err != nil {
			return nil, err
		}
		return PoolSetAnswer{Pool: pool.ID}, nil
	}
	old, ok := tx.pools.get(c.Pool.ID)
	if !ok {
		return nil, refuse(CodePoolUnknown, "there is no pool %d", c.Pool.ID)
	}
	if err := c.Pool.Validate(); err != nil {
		return nil, refuse(CodeInvalid, "%v", err)
	}
	if taken, ok := tx.poolNames.get(c.Pool.Name); ok && taken != old.ID {
		return nil, refuse(CodeNameTaken, "there is a pool %s", c.Pool.Name)
	}
	pool := c.Pool
	pool.Price, pool.RaisedAt = old.Price, old.RaisedAt
	tx.pools.put(pool.ID, &pool)
	tx.emit(Event{Kind: EventPool, Pool: pool.ID, Rate: pool.Floor, Text: pool.Name})
	if pool.Floor > old.Floor {
		if err := tx.refuseBelow(&pool); err != nil {
			return nil, err
		}
	}
	if pool.Price < pool.Floor {
		price := pool.Floor
		if lowest, ok := scheduler.Lowest(tx.scheduler, pool.ID); ok {
			price = max(pool.Price, min(lowest, price)) // only as far as the lowest bid that pays it
		}
		if err := tx.setPrice(pool, price, at); err != nil {
			return nil, err
		}
	}
	return PoolSetAnswer{Pool: pool.ID}, nil
}

// refuseBelow takes the waiting work below a raised floor out of the queue, with its money. What
// runs goes on to its end.
func (tx *Tx) refuseBelow(pool *scheduler.Pool) error {
	var below []scheduler.JobID
	tx.jobs.scan(0, func(id scheduler.JobID, job *scheduler.Job) bool {
		if job.Pool == pool.ID && job.State != scheduler.JobDone && job.Waiting() > 0 && job.Effective() < pool.Floor {
			below = append(below, id)
		}
		return true
	})
	for _, id := range below {
		j, err := tx.openJob(id)
		if err != nil {
			return err
		}
		if err := j.dropWaiting(scheduler.ReasonFloor); err != nil {
			return err
		}
		if err := j.goOn(); err != nil {
			return err
		}
	}
	return nil
}
