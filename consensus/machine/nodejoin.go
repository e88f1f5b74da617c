package machine

import (
	"maps"
	"slices"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// NodeJoin takes an executor's machine in: its join token is spent and its certificate pinned.
// A node that is known by its name and certificate joins again without a token.
type NodeJoin struct {
	Token TokenHash `cbor:"1,keyasint,omitzero"`
	Name  string    `cbor:"2,keyasint"`
	Pool  string    `cbor:"3,keyasint"`
	Cert  [32]byte  `cbor:"4,keyasint"` // SHA-256 of the certificate
	Facts NodeFacts `cbor:"5,keyasint"`
}

// NodeFacts is what an executor says of its machine.
type NodeFacts struct {
	Has     scheduler.Resources `cbor:"1,keyasint"`
	Labels  map[string]string   `cbor:"2,keyasint,omitempty"`
	Drivers []string            `cbor:"3,keyasint,omitempty"`
	Missing []string            `cbor:"4,keyasint,omitempty"` // limits it can't set, and why
	Version string              `cbor:"5,keyasint,omitempty"`
	OS      string              `cbor:"6,keyasint,omitempty"`
	Arch    string              `cbor:"7,keyasint,omitempty"`

	DriverFacts []scheduler.DriverFacts `cbor:"12,keyasint,omitempty"`
	Cards       []scheduler.Card        `cbor:"8,keyasint,omitempty"`  // its GPUs
	Shares      []string                `cbor:"13,keyasint,omitempty"` // folders that it has in common with others, sorted
}

// NodeJoinAnswer names the node.
type NodeJoinAnswer struct {
	Node    scheduler.NodeID `cbor:"1,keyasint"`
	Cluster ClusterID        `cbor:"2,keyasint"`
}

// Kind is part of [Command].
func (NodeJoin) Kind() Kind { return KindNodeJoin }

// Bounds of what a machine may say of itself.
const (
	NodesMax     = 20_000
	factsMax     = 64  // labels, drivers, missing limits
	factBytesMax = 256 // of each
)

// check refuses facts that no machine of ours would send.
func (f NodeFacts) check() error {
	if err := f.Has.Validate(); err != nil {
		return refuse(CodeInvalid, "what the machine has: %v", err)
	}
	if err := scheduler.ValidateCards(f.Cards); err != nil {
		return refuse(CodeInvalid, "what the machine has: %v", err)
	}
	if len(f.Labels) > factsMax || len(f.Drivers) > factsMax || len(f.Missing) > factsMax || len(f.DriverFacts) > factsMax || len(f.Shares) > factsMax {
		return refuse(CodeLimit, "at most %d labels, drivers, shared folders and missing limits", factsMax)
	}
	if !slices.IsSorted(f.Shares) {
		return refuse(CodeInvalid, "the shared folders are not sorted")
	}
	texts := append(slices.Concat(f.Drivers, f.Missing, f.Shares), f.Version, f.OS, f.Arch)
	for _, name := range slices.Sorted(maps.Keys(f.Labels)) {
		texts = append(texts, name, f.Labels[name])
	}
	for _, d := range f.DriverFacts {
		if len(d.Can) > factsMax {
			return refuse(CodeLimit, "a driver with %d abilities, the limit is %d", len(d.Can), factsMax)
		}
		texts = append(append(texts, d.Name, d.Version, d.Isolation, d.State, d.Reason), d.Can...)
	}
	for i := range f.Cards {
		texts = append(texts, f.Cards[i].Reason, f.Cards[i].ID)
	}
	for _, text := range texts {
		if len(text) > factBytesMax {
			return refuse(CodeLimit, "a fact has %d bytes, the limit is %d", len(text), factBytesMax)
		}
	}
	return nil
}

func (f NodeFacts) on(node scheduler.Node) scheduler.Node {
	node.Has, node.Labels, node.Drivers, node.Missing = f.Has, f.Labels, f.Drivers, f.Missing
	node.Version, node.OS, node.Arch, node.DriverFacts, node.Cards = f.Version, f.OS, f.Arch, f.DriverFacts, f.Cards
	node.Shares = f.Shares
	return node
}

func (c NodeJoin) apply(tx *Tx, at funding.Millis) (any, error) {
	if err := scheduler.ValidateName("node", c.Name); err != nil {
		return nil, refuse(CodeInvalid, "%v", err)
	}
	if err := c.Facts.check(); err != nil {
		return nil, err
	}
	pool, ok := tx.poolNames.get(c.Pool)
	if !ok {
		return nil, refuse(CodePoolUnknown, "there is no pool %q", c.Pool)
	}
	if c.Cert == ([32]byte{}) {
		return nil, refuse(CodeInvalid, "node %s has no certificate", c.Name)
	}
	node := scheduler.Node{Name: c.Name, Pool: pool, State: scheduler.NodeUp, Cert: c.Cert, Joined: at}
	id, known := tx.nodeNames.get(c.Name)
	if known {
		node = *tx.nodes.must(id)
	}
	switch {
	case known && node.Cert == c.Cert:
		return NodeJoinAnswer{Node: id, Cluster: tx.meta.Cluster}, tx.refresh(node, c.Facts)
	case known:
		return nil, refuse(CodeNameTaken, "there is a node %s with another certificate; remove it first", c.Name)
	case tx.nodes.len() >= NodesMax:
		return nil, refuse(CodeLimit, "there are %d nodes, the limit", NodesMax)
	}
	if err := tx.spendToken(c.Token, at, RoleJoinExecutor); err != nil {
		return nil, err
	}
	tx.meta.Node++
	node.ID = tx.meta.Node
	node = c.Facts.on(node)
	tx.nodes.put(node.ID, &node)
	tx.emit(Event{Kind: EventNodeJoined, Node: node.ID, Pool: node.Pool, Text: node.Name})
	return NodeJoinAnswer{Node: node.ID, Cluster: tx.meta.Cluster}, nil
}

// refresh takes a known machine's facts; one that was lost is back. Its runs were given away: what
// it still has of them it is told to stop.
func (tx *Tx) refresh(node scheduler.Node, facts NodeFacts) error {
	if err := facts.check(); err != nil {
		return err
	}
	same := slices.EqualFunc(node.Cards, facts.Cards, scheduler.Card.Equal)
	node = facts.on(node)
	if node.Refused = nil; !same { // what it had no room for may be tried again
		tx.dealAgain(&node)
	}
	if node.State == scheduler.NodeLost {
		node.State, node.Was = max(node.Was, scheduler.NodeUp), 0
		tx.emit(Event{Kind: EventNodeUp, Node: node.ID, Pool: node.Pool, Text: node.Name})
	}
	tx.nodes.put(node.ID, &node)
	return nil
}
