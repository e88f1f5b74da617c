package machine

import (
	"github.com/coinop/coinop/funding"
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

func (c NodeUpdate) apply(tx *Tx, _ funding.Millis) (any, error) {
	node, ok := tx.nodes.get(c.Node)
	if !ok {
		return nil, refuse(CodeNodeUnknown, "there is no node %d", c.Node)
	}
	if err := tx.refresh(*node, c.Facts); err != nil {
		return nil, err
	}
	return NodeUpdateAnswer{State: tx.nodes.must(c.Node).State}, nil
}
