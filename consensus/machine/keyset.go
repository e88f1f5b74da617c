package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// KeysetSpec is a new keyset's public side; its secrets are never in the log.
type KeysetSpec struct {
	ID          cashu.KeysetID    `cbor:"1,keyasint"`
	Epoch       mint.EpochNumber  `cbor:"2,keyasint"`
	InputFeePPK uint32            `cbor:"3,keyasint,omitempty"`
	FinalExpiry int64             `cbor:"4,keyasint,omitempty"` // seconds since 1970; zero: never
	Keys        []cashu.Point     `cbor:"5,keyasint"`           // for 1, 2, 4 ... 2^31
	Number      mint.KeysetNumber `cbor:"6,keyasint"`           // the next one; the keys are derived from it
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

// KeysetsMax bounds the keysets of a cluster, and SweepMax one entry's sweep.
const (
	KeysetsMax = 256
	SweepMax   = 10_000
)

func (c Keyset) apply(tx *Tx, at funding.Millis) (any, error) {
	parts := 0
	for _, there := range []bool{c.New != nil, c.State != 0, c.Sweep != 0} {
		if there {
			parts++
		}
	}
	switch {
	case parts != 1:
		return nil, refuse(CodeInvalid, "an entry makes a keyset, moves one, or sweeps")
	case c.Sweep < 0 || c.Sweep > SweepMax:
		return nil, refuse(CodeLimit, "a sweep looks at 1 to %d records", SweepMax)
	case c.Sweep > 0:
		return KeysetAnswer{More: tx.sweep(c.Sweep)}, nil
	}
	if c.Token != (TokenHash{}) {
		if err := tx.checkToken(c.Token, at, RoleOperator); err != nil {
			return nil, err
		}
	}
	if c.New != nil {
		return tx.addKeyset(*c.New, at)
	}
	return tx.moveKeyset(c.Number, c.State, at)
}

// addKeyset makes a keyset active. Its id must be the hash of its keys, so a server that has other
// secrets finds out.
func (tx *Tx) addKeyset(spec KeysetSpec, at funding.Millis) (any, error) {
	if number, ok := tx.keysetIDs.get(spec.ID); ok {
		return KeysetAnswer{Number: number}, nil // the same once more
	}
	if spec.Number != tx.meta.Keyset+1 {
		return nil, refuse(CodeStale, "the next keyset is number %d, this one was made as number %d", tx.meta.Keyset+1, spec.Number)
	}
	if tx.keysets.len() >= KeysetsMax {
		return nil, refuse(CodeLimit, "there are %d keysets, the limit", KeysetsMax)
	}
	if len(spec.Keys) != cashu.CoinKinds {
		return nil, refuse(CodeInvalid, "%d keys instead of %d", len(spec.Keys), cashu.CoinKinds)
	}
	keyset := mint.Keyset{
		Number: spec.Number, ID: spec.ID, Unit: tx.meta.Unit, Epoch: spec.Epoch, State: mint.KeysetActive,
		InputFeePPK: spec.InputFeePPK, FinalExpiry: spec.FinalExpiry, Keys: make(cashu.Keys, len(spec.Keys)),
	}
	for power, point := range spec.Keys {
		keyset.Keys[power] = cashu.Key{Amount: 1 << power, Point: point}
	}
	if err := mint.CheckKeyset(keyset); err != nil {
		return nil, refuse(CodeInvalid, "%v", err)
	}
	if keyset.StateAt(int64(at)) != mint.KeysetActive {
		return nil, refuse(CodeInvalid, "keyset %s has expired before it began", spec.ID)
	}
	tx.meta.Keyset = keyset.Number
	tx.keysets.put(keyset.Number, &KeysetRecord{Keyset: keyset, Made: at})
	tx.emit(Event{Kind: EventKeyset, Text: string(spec.ID) + " " + keyset.State.String()})
	return KeysetAnswer{Number: keyset.Number}, nil
}

// moveKeyset takes a keyset on. It closes only when no coin of it is worth anything any more: after
// its final expiry, or when none is outstanding.
func (tx *Tx) moveKeyset(number mint.KeysetNumber, to mint.KeysetState, at funding.Millis) (any, error) {
	record, ok := tx.keysets.get(number)
	if !ok {
		return nil, refuse(CodeKeysetUnknown, "there is no keyset number %d", number)
	}
	moved, err := record.Move(to)
	if err != nil {
		return nil, refuse(CodeInvalid, "%v", err)
	}
	outstanding := tx.Balance(coinsOf(number))
	if to == mint.KeysetClosed && outstanding > 0 && record.StateAt(int64(at)) != mint.KeysetClosed {
		return nil, refuse(CodeInvalid, "coins of keyset %s worth %d are outstanding; it closes when they are spent or have expired",
			record.ID, outstanding/funding.UnitMicro)
	}
	if moved.State != record.State {
		after := *record
		after.Keyset = moved
		tx.keysets.put(number, &after)
		tx.emit(Event{Kind: EventKeyset, Text: string(record.ID) + " " + to.String()})
	}
	return KeysetAnswer{Number: number}, nil
}
