package machine

import (
	"github.com/coinop/coinop/scheduler"
)

// Init is the first entry of a cluster and of no other place in the log. All that is random in it
// was drawn before it was proposed.
type Init struct {
	Cluster  ClusterID        `cbor:"1,keyasint"`
	Unit     string           `cbor:"2,keyasint"`
	Format   uint32           `cbor:"3,keyasint"`
	Pools    []scheduler.Pool `cbor:"4,keyasint"` // IDs are given in this order
	Keyset   KeysetSpec       `cbor:"5,keyasint"`
	Operator TokenHash        `cbor:"6,keyasint"` // the first operator's token
	Server   *Server          `cbor:"7,keyasint,omitempty"`
}

// InitAnswer repeats the cluster's id.
type InitAnswer struct {
	Cluster ClusterID `cbor:"1,keyasint"`
}

// Kind is part of [Command].
func (Init) Kind() Kind { return KindInit }
