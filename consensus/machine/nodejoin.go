package machine

import (
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
}

// NodeJoinAnswer names the node.
type NodeJoinAnswer struct {
	Node    scheduler.NodeID `cbor:"1,keyasint"`
	Cluster ClusterID        `cbor:"2,keyasint"`
}

// Kind is part of [Command].
func (NodeJoin) Kind() Kind { return KindNodeJoin }
