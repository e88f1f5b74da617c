package machine

import (
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
