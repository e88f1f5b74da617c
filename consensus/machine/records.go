package machine

import (
	"bytes"
	"cmp"

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

// Request is a request that was carried out, so that its repetition has the same answer.
type Request struct {
	Fingerprint fingerprint       `cbor:"1,keyasint"`
	Keyset      mint.KeysetNumber `cbor:"2,keyasint,omitempty"` // with coins: kept as long as this keyset
	Answer      []byte            `cbor:"3,keyasint,omitempty"` // as it was given; of a pot's request as keptAnswer shortens it
}

// fingerprint is the first half of a request's fingerprint: nobody finds another request with the
// same, and a day's requests are many.
type fingerprint [16]byte

func shorten(whole [32]byte) fingerprint { return fingerprint(whole[:16]) }

// requestKey names a request. Scope is the pot that pays, or, with coins, the beginning of the
// lowest coin's key (of the fingerprint where there is no coin). The ULID stands before the scope,
// so that requests lie in the order of their ULIDs' time and expire from the front.
type requestKey struct {
	Coins bool     `cbor:"1,keyasint,omitempty"`
	Key   [16]byte `cbor:"2,keyasint"`
	Scope uint64   `cbor:"3,keyasint,omitempty"`
}

func compareRequests(a, b requestKey) int {
	if a.Coins != b.Coins {
		if b.Coins {
			return -1
		}
		return 1
	}
	return cmp.Or(bytes.Compare(a.Key[:], b.Key[:]), cmp.Compare(a.Scope, b.Scope))
}
