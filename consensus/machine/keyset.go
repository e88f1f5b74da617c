package machine

import (
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// KeysetSpec is a new keyset's public side; its secrets are never in the log.
type KeysetSpec struct {
	ID          cashu.KeysetID   `cbor:"1,keyasint"`
	Epoch       mint.EpochNumber `cbor:"2,keyasint"`
	InputFeePPK uint32           `cbor:"3,keyasint,omitempty"`
	FinalExpiry int64            `cbor:"4,keyasint,omitempty"` // seconds since 1970; zero: never
	Keys        []cashu.Point    `cbor:"5,keyasint"`           // for 1, 2, 4 ... 2^31
}

// Keyset brings a new keyset (New), moves one on to another state (Number, State), or forgets a
// part of what closed ones leave behind (Sweep).
type Keyset struct {
	New    *KeysetSpec       `cbor:"1,keyasint,omitempty"`
	Number mint.KeysetNumber `cbor:"2,keyasint,omitempty"`
	State  mint.KeysetState  `cbor:"3,keyasint,omitempty"`
	Sweep  int32             `cbor:"4,keyasint,omitempty"` // look at so many records, and forget those of closed keysets
	Token  TokenHash         `cbor:"5,keyasint,omitzero"`  // whose decision it is, for the record
}

// KeysetAnswer names the keyset; More says that a sweep has not come round yet.
type KeysetAnswer struct {
	Number mint.KeysetNumber `cbor:"1,keyasint,omitempty"`
	More   bool              `cbor:"2,keyasint,omitempty"`
}

// Kind is part of [Command].
func (Keyset) Kind() Kind { return KindKeyset }
