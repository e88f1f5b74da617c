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
	key := requestKey{Coins: in.coins, Key: request.Key, Scope: in.number}
	if in.coins && request.Key == ([16]byte{}) {
		key.Key = [16]byte(request.Fingerprint[:16])
	}
	if request.Fingerprint == ([32]byte{}) || key.Key == ([16]byte{}) {
		return do()
	}
	if before, ok := tx.asked.get(shorten(request.Fingerprint)); ok && in.coins {
		return cbor.RawMessage(tx.requests.must(before).Answer), nil
	}
	if before, ok := tx.requests.get(key); ok {
		switch {
		case before.Fingerprint != shorten(request.Fingerprint):
		case in.coins:
			return cbor.RawMessage(before.Answer), nil
		default:
			return tx.answered(before.Answer)
		}
		return nil, refuse(CodeRequestConflict, "this idempotency key came before with another request")
	}
	if !in.coins {
		if err := tx.checkAge(request.Key); err != nil {
			return nil, err
		}
	}
	answer, err := do()
	if err != nil {
		return nil, err
	}
	kept, err := keptAnswer(answer, in)
	if err != nil {
		return nil, err
	}
	tx.requests.put(key, &Request{Fingerprint: shorten(request.Fingerprint), Keyset: in.keyset, Answer: kept})
	return answer, nil
}

// How the answer to a request that a pot paid for is kept, in its first byte. There may be a million
// of these, so they leave out the fund id, which the pot has for as long as they are remembered.
const (
	keptWhole byte = iota
	keptWithoutFund
)

func keptAnswer(answer any, in scope) ([]byte, error) {
	if in.coins {
		return encoder.Marshal(answer)
	}
	how := keptWhole
	if submit, ok := answer.(SubmitAnswer); ok {
		how = keptWithoutFund
		submit.Fund = funding.FundID{}
		answer = submit
	}
	body, err := encoder.Marshal(answer)
	return append([]byte{how}, body...), err
}

// answered is the kept answer to a request that a pot paid for, as it was given.
func (tx *Tx) answered(kept []byte) (any, error) {
	if kept[0] == keptWhole {
		return cbor.RawMessage(kept[1:]), nil
	}
	var answer SubmitAnswer
	if err := DecodeAnswer(kept[1:], &answer); err != nil {
		return nil, err
	}
	if pot, ok := tx.pots.get(answer.Pot); ok {
		answer.Fund = pot.Keys.Fund
	}
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
