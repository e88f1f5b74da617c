package machine

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
	"github.com/fxamacker/cbor/v2"
)

// Request is a request with coins that was carried out, so that its repetition has the same answer.
type Request struct {
	Fingerprint fingerprint
	Keyset      mint.KeysetNumber // kept as long as this keyset
	Answer      []byte            // as it was given
}

// fingerprint is the first half of a request's fingerprint: nobody finds another request with the
// same, and a day's requests are many.
type fingerprint [16]byte

func shorten(whole [32]byte) fingerprint { return fingerprint(whole[:16]) }

// requestKey names a request. Scope is the pot that pays, or, with coins, the beginning of the
// lowest coin's key (of the fingerprint where there is no coin) with the highest bit set. The ULID
// stands before the scope, so that requests lie in the order of their ULIDs' time and expire from
// the front.
type requestKey struct {
	Key   [16]byte `cbor:"1,keyasint"`
	Scope uint64   `cbor:"2,keyasint,omitempty"`
}

// scopeOfCoins is the bit that tells requests with coins from those that a pot pays for.
const scopeOfCoins = 1 << 63

func (k requestKey) coins() bool { return k.Scope&scopeOfCoins != 0 }

func compareRequests(a, b requestKey) int {
	if a.coins() != b.coins() {
		if b.coins() {
			return -1
		}
		return 1
	}
	return cmp.Or(bytes.Compare(a.Key[:], b.Key[:]), cmp.Compare(a.Scope, b.Scope))
}

// keptRequest is a request as the state keeps it. There may be a million that pots paid for, so it
// is one string, in which their usual answer is a handful of numbers.
//
//	with coins:  fingerprint (16)  keyset (4)  answer
//	of a pot:    keptWhole    fingerprint (8)  answer
//	             keptNumbers  fingerprint (8)  what [SubmitAnswer] says beyond the pot's number and its fund id
//
// Of a pot's requests a quarter of the fingerprint is enough: it tells one body from another under
// a key that only the pot's owner has.
type keptRequest = cbor.ByteString

// How the answer to a request that a pot paid for is kept.
const (
	keptWhole byte = iota
	keptNumbers
)

const (
	coinsHead = 16 + 4
	potHead   = 1 + 8
)

var errKept = errors.New("a kept request is cut short")

// keepWithCoins makes the record of a request with coins.
func keepWithCoins(r Request) keptRequest {
	b := append(make([]byte, 0, coinsHead+len(r.Answer)), r.Fingerprint[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Keyset))
	return keptRequest(append(b, r.Answer...))
}

// withCoins reads a request with coins.
func withCoins(kept keptRequest) *Request {
	if len(kept) < coinsHead {
		return new(Request) // in no state that entries made; a snapshot from elsewhere may hold anything
	}
	return &Request{
		Fingerprint: fingerprint([]byte(kept[:16])), Keyset: mint.KeysetNumber(binary.BigEndian.Uint32([]byte(kept[16:coinsHead]))),
		Answer: []byte(kept[coinsHead:]),
	}
}

// keepOfPot makes the record of a request that a pot paid for.
func keepOfPot(whole [32]byte, answer any) (keptRequest, error) {
	head := append([]byte{keptWhole}, whole[:8]...)
	if a, ok := answer.(SubmitAnswer); ok && a.Deposit == 0 {
		head[0] = keptNumbers
		for _, n := range []uint64{uint64(a.Job), uint64(a.State), uint64(a.Held), uint64(a.Bid), uint64(a.Weight), uint64(a.Fee), a.Index} {
			head = binary.AppendUvarint(head, n)
		}
		return keptRequest(head), nil
	}
	body, err := encoder.Marshal(answer)
	return keptRequest(append(head, body...)), err
}

// sameAsOfPot says whether a request that a pot paid for was this one.
func sameAsOfPot(kept keptRequest, whole [32]byte) bool {
	return len(kept) >= potHead && string(kept[1:potHead]) == string(whole[:8])
}

// answerOfPot is the kept answer to a request that a pot paid for, as it was given.
func (tx *Tx) answerOfPot(pot funding.PotID, kept keptRequest) (any, error) {
	body := []byte(kept[potHead:])
	if kept[0] == keptWhole {
		return cbor.RawMessage(body), nil
	}
	var numbers [7]uint64
	for i := range numbers {
		n, size := binary.Uvarint(body)
		if size <= 0 {
			return nil, errKept
		}
		numbers[i], body = n, body[size:]
	}
	answer := SubmitAnswer{
		Job: scheduler.JobID(numbers[0]), Pot: pot, State: scheduler.JobState(numbers[1]), Held: funding.Amount(numbers[2]),
		Bid: funding.Rate(numbers[3]), Weight: funding.Weight(numbers[4]), Fee: funding.Amount(numbers[5]), Index: numbers[6],
	}
	if record, ok := tx.pots.get(pot); ok {
		answer.Fund = record.Keys.Fund
	}
	return answer, nil
}
