package machine

import (
	"bytes"
	"encoding/binary"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
	"github.com/fxamacker/cbor/v2"
)

// RequestMemory is how long a request that a pot paid for is remembered, by the time in its ULID:
// what is forgotten is refused by the same rule, so nothing is done twice.
const RequestMemory funding.Millis = 24 * 3_600_000

// scope is what an idempotency key is good for, and how long the request is remembered.
type scope struct {
	coins  bool
	number uint64
	keyset mint.KeysetNumber
}

// ofPot is the scope of what a pot pays for.
func ofPot(pot funding.PotID) scope { return scope{number: uint64(pot)} }

// ofCoins is the scope of a request that brings coins: its lowest coin, so that the order does not
// matter. It is remembered as long as the newest keyset in it.
func ofCoins(coins mint.Admitted) scope {
	s := scope{coins: true}
	lowest := -1
	for i, input := range coins.Inputs {
		s.keyset = max(s.keyset, input.Keyset)
		if lowest < 0 || bytes.Compare(input.Key[:], coins.Inputs[lowest].Key[:]) < 0 {
			lowest = i
		}
	}
	if lowest >= 0 {
		s.number = binary.BigEndian.Uint64(coins.Inputs[lowest].Key[:8])
	}
	return s.withOutputs(coins.Outputs)
}

// ofOutputs is the scope of a request that only asks for coins, of a quote or a claimable balance.
func ofOutputs(number uint64, outputs []mint.Allowed) scope {
	return scope{coins: true, number: number}.withOutputs(outputs)
}

func (s scope) withOutputs(outputs []mint.Allowed) scope {
	for _, output := range outputs {
		s.keyset = max(s.keyset, output.Keyset)
	}
	return s
}

// once carries a request out unless it was carried out before: then it has the same answer as the
// first time and nothing is looked at, least of all its coins. A request without a fingerprint is
// not remembered, nor is one that a pot pays for and that has no idempotency key.
func (tx *Tx) once(request RequestID, in scope, do func() (any, error)) (any, error) {
	key := requestKey{Key: request.Key, Scope: in.number &^ scopeOfCoins}
	if in.coins {
		key.Scope |= scopeOfCoins
		if request.Key == ([16]byte{}) {
			key.Key = [16]byte(request.Fingerprint[:16])
		}
	}
	if request.Fingerprint == ([32]byte{}) || key.Key == ([16]byte{}) {
		return do()
	}
	if in.coins {
		return tx.onceWithCoins(key, request.Fingerprint, in.keyset, do)
	}
	if before, ok := tx.requests.get(key); ok {
		if !sameAsOfPot(before, request.Fingerprint) {
			return nil, errConflict
		}
		return tx.answerOfPot(funding.PotID(key.Scope), before)
	}
	if err := tx.checkAge(request.Key); err != nil {
		return nil, err
	}
	answer, err := do()
	if err != nil {
		return nil, err
	}
	kept, err := keepOfPot(request.Fingerprint, answer)
	if err != nil {
		return nil, err
	}
	tx.requests.put(key, kept)
	return answer, nil
}

var errConflict = refuse(CodeRequestConflict, "this idempotency key came before with another request")

func (tx *Tx) onceWithCoins(key requestKey, whole [32]byte, keyset mint.KeysetNumber, do func() (any, error)) (any, error) {
	if before, ok := tx.asked.get(shorten(whole)); ok {
		return cbor.RawMessage(withCoins(tx.requests.must(before)).Answer), nil
	}
	if before, ok := tx.requests.get(key); ok {
		if known := withCoins(before); known.Fingerprint == shorten(whole) {
			return cbor.RawMessage(known.Answer), nil
		}
		return nil, errConflict
	}
	answer, err := do()
	if err != nil {
		return nil, err
	}
	body, err := encoder.Marshal(answer)
	if err != nil {
		return nil, err
	}
	tx.requests.put(key, keepWithCoins(Request{Fingerprint: shorten(whole), Keyset: keyset, Answer: body}))
	return answer, nil
}

// checkAge refuses idempotency keys that may have been forgotten, and those from a clock so far
// ahead that they would be remembered for too long.
func (tx *Tx) checkAge(key [16]byte) error {
	made := madeAt(key)
	switch {
	case made <= tx.at-RequestMemory:
		return refuse(CodeRequestOld, "this idempotency key is of %d and older than the %d hours that requests are remembered", made, RequestMemory/3_600_000)
	case made > tx.at+RequestMemory:
		return refuse(CodeRequestOld, "this idempotency key is of %d, more than a day ahead of cluster time %d", made, tx.at)
	}
	return nil
}

// madeAt is the time in a ULID: its first six bytes.
func madeAt(key [16]byte) funding.Millis {
	var wide [8]byte
	copy(wide[2:], key[:6])
	return funding.Millis(binary.BigEndian.Uint64(wide[:]))
}
