package machine

import (
	"github.com/coinop/coinop/funding"
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
	MintURL  string           `cbor:"8,keyasint,omitempty"` // see [MintURL]
}

// InitAnswer repeats the cluster's id.
type InitAnswer struct {
	Cluster ClusterID `cbor:"1,keyasint"`
}

// Kind is part of [Command].
func (Init) Kind() Kind { return KindInit }

// unitBytesMax bounds the name of the unit of account.
const unitBytesMax = 16

func (c Init) apply(tx *Tx, at funding.Millis) (any, error) {
	switch {
	case c.Cluster == (ClusterID{}) || c.Operator == (TokenHash{}):
		return nil, refuse(CodeInvalid, "a cluster needs an id and an operator's token")
	case c.Unit == "" || len(c.Unit) > unitBytesMax:
		return nil, refuse(CodeInvalid, "the unit of account has 1 to %d bytes", unitBytesMax)
	case c.Format == 0:
		return nil, refuse(CodeFormat, "a cluster's first format is 1")
	case c.Format > FormatMax:
		return nil, newer(c.Format)
	case len(c.Pools) == 0:
		return nil, refuse(CodeInvalid, "a cluster begins with a pool")
	}
	tx.meta.Cluster, tx.meta.Unit, tx.meta.Format = c.Cluster, c.Unit, c.Format
	if err := tx.setMintURL(c.MintURL); err != nil {
		return nil, err
	}
	tx.emit(Event{Kind: EventInit, Text: c.Unit})
	for i := range c.Pools {
		for j := range i {
			if c.Pools[i].Name == c.Pools[j].Name {
				return nil, refuse(CodeNameTaken, "two pools are called %s", c.Pools[i].Name)
			}
		}
		if _, err := tx.addPool(c.Pools[i], at); err != nil {
			return nil, err
		}
	}
	if _, err := tx.addKeyset(c.Keyset, at); err != nil {
		return nil, err
	}
	tx.tokens.put(c.Operator, &TokenRecord{Hash: c.Operator, Role: RoleOperator, Name: "first operator", Made: at})
	if c.Server != nil {
		if _, err := c.Server.apply(tx, at); err != nil {
			return nil, err
		}
	}
	return InitAnswer{Cluster: c.Cluster}, nil
}
