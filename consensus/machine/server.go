package machine

import (
	"github.com/coinop/coinop/funding"
)

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

// ServersMax bounds the servers of a cluster; five vote, the others are on their way in or out.
const ServersMax = 9

func (c Server) apply(tx *Tx, at funding.Millis) (any, error) {
	before, known := tx.servers.get(c.ID)
	switch {
	case c.ID == "" || len(c.ID) > 64 || len(c.Cluster) > 256 || len(c.HTTP) > 256 || len(c.Version) > 64:
		return nil, refuse(CodeLimit, "a server's id has 1 to 64 bytes, its addresses at most 256")
	case c.Removed:
		return tx.removeServer(c, known, at)
	case c.Reads < tx.meta.Format:
		return nil, refuse(CodeFormat, "the cluster's format is %d, server %s reads formats up to %d: start a newer coinop there", tx.meta.Format, c.ID, c.Reads)
	case c.Cert == ([32]byte{}):
		return nil, refuse(CodeInvalid, "a server needs a certificate")
	case known && before.Cert != c.Cert:
		return nil, refuse(CodeNameTaken, "server %s is known with another certificate", c.ID)
	case !known && tx.servers.len() >= ServersMax:
		return nil, refuse(CodeLimit, "there are %d servers, the limit; remove one", ServersMax)
	case !known && tx.servers.len() > 0:
		if err := tx.spendToken(c.Token, at, RoleJoinServer); err != nil {
			return nil, err
		}
	}
	record := c
	record.Token, record.Joined = TokenHash{}, at
	if known {
		record.Joined = before.Joined
	} else {
		tx.emit(Event{Kind: EventServerJoined, Text: c.ID})
	}
	tx.servers.put(c.ID, &record)
	return ServerAnswer{Cluster: tx.meta.Cluster}, nil
}

func (tx *Tx) removeServer(c Server, known bool, at funding.Millis) (any, error) {
	if err := tx.checkToken(c.Token, at, RoleOperator); err != nil {
		return nil, err
	}
	if !known {
		return nil, refuse(CodeServerUnknown, "there is no server %s", c.ID)
	}
	tx.servers.del(c.ID)
	tx.emit(Event{Kind: EventServerRemoved, Text: c.ID})
	return ServerAnswer{Cluster: tx.meta.Cluster}, nil
}
