package mint

import (
	"fmt"

	"github.com/coinop/coinop/funding/cashu"
)

// KeysetNumber counts a cluster's keysets from 1. Records hold it instead of
// the id, which is twenty times as long.
type KeysetNumber uint32

// EpochNumber counts the secrets that keysets were derived from, from 1.
type EpochNumber uint32

// KeysetState says what a keyset's coins may still be used for.
type KeysetState uint8

// The states follow each other and never go back.
const (
	// KeysetActive keysets sign new outputs and take coins.
	KeysetActive KeysetState = iota + 1
	// KeysetRetiring keysets take coins and sign what was registered before.
	KeysetRetiring
	// KeysetClosed keysets do nothing more; their sets may be forgotten.
	KeysetClosed
)

func (s KeysetState) String() string {
	switch s {
	case KeysetActive:
		return "active"
	case KeysetRetiring:
		return "retiring"
	case KeysetClosed:
		return "closed"
	}
	return fmt.Sprintf("unknown state %d", uint8(s))
}

// KeysetLife is how long a keyset's coins are good unless an operator says otherwise, in seconds: a year (DESIGN.md
// section 4.5).
const KeysetLife = 365 * 86_400

// InputFeePPKMax bounds the fee of one input to a hundred units.
const InputFeePPKMax = 100_000

// Keyset is a set of keys as the replicated state knows it. Everything in it is
// public; the id commits to the keys, the unit, the fee and the expiry.
type Keyset struct {
	Number      KeysetNumber   `cbor:"1,keyasint"`
	ID          cashu.KeysetID `cbor:"2,keyasint"`
	Unit        string         `cbor:"3,keyasint"`
	Epoch       EpochNumber    `cbor:"4,keyasint"`
	State       KeysetState    `cbor:"5,keyasint"`
	InputFeePPK uint32         `cbor:"6,keyasint,omitempty"`
	FinalExpiry int64          `cbor:"7,keyasint,omitempty"` // seconds since 1970, zero for never
	Keys        cashu.Keys     `cbor:"8,keyasint"`
}

// CheckKeyset refuses a keyset that no cluster may hold: an id that is not the
// hash of what it names, or other amounts than the 32 coins.
func CheckKeyset(k Keyset) error {
	if k.Number == 0 || k.Epoch == 0 || k.Unit == "" {
		return fmt.Errorf("keyset %s: number, epoch and unit are needed", k.ID)
	}
	if k.State < KeysetActive || k.State > KeysetClosed {
		return fmt.Errorf("keyset %s: %s", k.ID, k.State)
	}
	if k.InputFeePPK > InputFeePPKMax {
		return fmt.Errorf("keyset %s: input fee %d ppk is above %d", k.ID, k.InputFeePPK, InputFeePPKMax)
	}
	if k.FinalExpiry < 0 {
		return fmt.Errorf("keyset %s: final expiry %d is before 1970", k.ID, k.FinalExpiry)
	}
	if len(k.Keys) != cashu.CoinKinds {
		return fmt.Errorf("keyset %s: %d keys instead of %d", k.ID, len(k.Keys), cashu.CoinKinds)
	}
	for power, key := range k.Keys {
		if key.Amount != cashu.Units(1)<<power {
			return fmt.Errorf("keyset %s: key %d is for %d", k.ID, power, key.Amount)
		}
	}
	if id := k.Keys.IDv2(k.Unit, uint64(k.InputFeePPK), k.FinalExpiry); id != k.ID {
		return fmt.Errorf("keyset %s: its keys, unit, fee and expiry hash to %s", k.ID, id)
	}
	return nil
}

// Move takes a keyset to another state; states only follow each other.
func (k Keyset) Move(to KeysetState) (Keyset, error) {
	if to < KeysetActive || to > KeysetClosed || to < k.State {
		return k, fmt.Errorf("keyset %s is %s and cannot become %s", k.ID, k.State, to)
	}
	k.State = to
	return k, nil
}

// StateAt is the keyset's state at a moment: from its final expiry on it is
// closed, whether or not an entry has said so.
func (k Keyset) StateAt(at int64) KeysetState {
	if k.FinalExpiry != 0 && at/1000 >= k.FinalExpiry {
		return KeysetClosed
	}
	return k.State
}

// Info is the keyset as the protocol lists it.
func (k Keyset) Info() cashu.KeysetInfo {
	info := cashu.KeysetInfo{
		ID: k.ID, Unit: k.Unit, Active: k.State == KeysetActive, InputFeePPK: uint64(k.InputFeePPK),
	}
	if k.FinalExpiry != 0 {
		expiry := k.FinalExpiry
		info.FinalExpiry = &expiry
	}
	return info
}

// WithKeys is the keyset with its keys as the protocol lists it.
func (k Keyset) WithKeys() cashu.KeysetKeys {
	return cashu.KeysetKeys{KeysetInfo: k.Info(), Keys: k.Keys}
}
