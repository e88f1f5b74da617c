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

func (c NodeState) apply(tx *Tx, at funding.Millis) (any, error) {
	if c.Token != (TokenHash{}) {
		if err := tx.checkToken(c.Token, at, RoleOperator); err != nil {
			return nil, err
		}
	}
	old, ok := tx.nodes.get(c.Node)
	if !ok {
		return nil, refuse(CodeNodeUnknown, "there is no node %d", c.Node)
	}
	if len(c.Reason) > factBytesMax || c.Deadline < 0 || c.Deadline > funding.MillisMax {
		return nil, refuse(CodeLimit, "a reason has at most %d bytes, a deadline lies in this century", factBytesMax)
	}
	node := *old
	kind := EventNodeUp
	switch c.State {
	case scheduler.NodeUp:
		node.State, node.Reason, node.Deadline, node.Faults = scheduler.NodeUp, "", 0, 0
	case scheduler.NodeDraining:
		node.State, node.Reason, node.Deadline = scheduler.NodeDraining, c.Reason, c.Deadline
		kind = EventNodeDraining
	case scheduler.NodeRemoved:
		if node.Open > 0 {
			// Its tasks may still run: were their places given away now, they might run twice.
			return nil, refuse(CodeJobOpen, "node %s has %d open runs; drain it first", node.Name, node.Open)
		}
		tx.nodes.del(node.ID)
		tx.emit(Event{Kind: EventNodeRemoved, Node: node.ID, Pool: node.Pool, Text: node.Name})
		return NodeStateAnswer{}, nil
	default:
		return nil, refuse(CodeInvalid, "a node can be drained, taken back or removed")
	}
	if old.State == scheduler.NodeLost {
		node.State, node.Was = scheduler.NodeLost, node.State // in force when it comes back
	}
	tx.nodes.put(node.ID, &node)
	tx.emit(Event{Kind: kind, Node: node.ID, Pool: node.Pool, Text: c.Reason, Until: node.Deadline})
	return NodeStateAnswer{Open: node.Open}, nil
}

// loseRuns ends what runs on a node that nobody can reach any more: not charged, and waiting again.
func (tx *Tx) loseRuns(id scheduler.NodeID, at funding.Millis) error {
	var open []scheduler.RunID
	tx.nodeRuns.ascend(nodeRun{node: id}, func(key nodeRun, _ none) bool {
		if key.node == id && tx.runs.has(key.run) {
			open = append(open, key.run)
		}
		return key.node == id
	})
	for _, run := range open {
		if err := tx.endRun(run, outcome{End: End{At: at, Reason: scheduler.ReasonNodeLost, Fault: true}, again: true}); err != nil {
			return err
		}
	}
	return nil
}
