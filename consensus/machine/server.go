package machine

import "github.com/coinop/coinop/funding"

// Server makes a server's public facts known, changes them, or removes it. A new server spends a
// join token, all but the first.
type Server struct {
	ID      string         `cbor:"1,keyasint"`
	Cluster string         `cbor:"2,keyasint,omitempty"` // HOST:PORT of the cluster port
	HTTP    string         `cbor:"3,keyasint,omitempty"` // HOST:PORT of the public interface
	Cert    [32]byte       `cbor:"4,keyasint,omitzero"`  // SHA-256 of the pinned certificate
	Reads   uint32         `cbor:"5,keyasint,omitempty"` // the highest format it can read
	Version string         `cbor:"6,keyasint,omitempty"`
	Removed bool           `cbor:"7,keyasint,omitempty"`
	Token   TokenHash      `cbor:"8,keyasint,omitzero"`  // the join token, or the operator's who removes it
	Joined  funding.Millis `cbor:"9,keyasint,omitempty"` // set by the machine
}

// ServerAnswer names the cluster it is in.
type ServerAnswer struct {
	Cluster ClusterID `cbor:"1,keyasint"`
}

// Kind is part of [Command].
func (Server) Kind() Kind { return KindServer }
