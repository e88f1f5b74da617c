package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// KeysetRecord is a keyset in the state. A stopped one takes no coin and allows no output until an
// operator reconciles: its sets may be older than what the keys have signed since.
type KeysetRecord struct {
	mint.Keyset
	Stopped bool           `cbor:"33,keyasint,omitempty"`
	Made    funding.Millis `cbor:"34,keyasint"`
}

// TokenRecord is a token by its hash.
type TokenRecord struct {
	Hash  TokenHash      `cbor:"1,keyasint"`
	Role  Role           `cbor:"2,keyasint"`
	Name  string         `cbor:"3,keyasint,omitempty"`
	Until funding.Millis `cbor:"4,keyasint,omitempty"`
	Made  funding.Millis `cbor:"5,keyasint"`
	Used  bool           `cbor:"6,keyasint,omitempty"` // a join token that let someone in
}

// Sweep is how far the search for what closed keysets left has come.
type Sweep struct {
	Table uint8          `cbor:"1,keyasint"` // the table's number
	Spent cashu.SpentKey `cbor:"2,keyasint,omitzero"`
	Point cashu.Point    `cbor:"3,keyasint,omitzero"`
	Key   requestKey     `cbor:"4,keyasint,omitzero"`
}
