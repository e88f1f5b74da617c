package machine

import (
	"github.com/coinop/coinop/scheduler"
)

// NodeUpdate tells what a node's machine has become, and that a lost one is back.
type NodeUpdate struct {
	Node  scheduler.NodeID `cbor:"1,keyasint"`
	Facts NodeFacts        `cbor:"2,keyasint"`
}

// NodeUpdateAnswer tells how the node stands.
type NodeUpdateAnswer struct {
	State scheduler.NodeState `cbor:"1,keyasint"`
}

// Kind is part of [Command].
func (NodeUpdate) Kind() Kind { return KindNodeUpdate }
