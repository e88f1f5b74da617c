package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// NodeState is an operator's word on a node: drain it, take it back, remove it.
type NodeState struct {
	Node     scheduler.NodeID    `cbor:"1,keyasint"`
	State    scheduler.NodeState `cbor:"2,keyasint"`
	Reason   string              `cbor:"3,keyasint,omitempty"`
	Deadline funding.Millis      `cbor:"4,keyasint,omitempty"` // when a drain stops what still runs; zero: never
	Token    TokenHash           `cbor:"5,keyasint,omitzero"`  // whose decision it is, for the record
}

// NodeStateAnswer tells how many runs are still open on it.
type NodeStateAnswer struct {
	Open int32 `cbor:"1,keyasint,omitempty"`
}

// Kind is part of [Command].
func (NodeState) Kind() Kind { return KindNodeState }
