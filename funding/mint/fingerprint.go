package mint

import (
	"crypto/sha256"
	"encoding/binary"
	"sort"

	"github.com/coinop/coinop/funding/cashu"
)

// Fingerprint names a request by what it asks, so that its repetition is known
// before coins are looked at: the endpoint, the inputs in any order, pay, the
// outputs and blanks in their order, and the hash of whatever else it carries.
func Fingerprint(endpoint string, request Request, rest [32]byte) [32]byte {
	hash := sha256.New()
	text := func(s string) {
		hash.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		hash.Write([]byte(s))
	}
	number := func(n uint64) { hash.Write(binary.BigEndian.AppendUint64(nil, n)) }

	text("coinop/1/request")
	text(endpoint)
	inputs := make([]cashu.Proof, len(request.Inputs))
	copy(inputs, request.Inputs)
	sort.Slice(inputs, func(i, j int) bool { return inputs[i].Secret < inputs[j].Secret })
	number(uint64(len(inputs)))
	for _, proof := range inputs {
		text(string(proof.ID))
		number(uint64(proof.Amount))
		text(proof.Secret)
		hash.Write(proof.C[:])
	}
	number(uint64(request.Pay))
	for _, list := range [][]cashu.BlindedMessage{request.Outputs, request.Blanks} {
		number(uint64(len(list)))
		for _, message := range list {
			text(string(message.ID))
			number(uint64(message.Amount))
			hash.Write(message.B_[:])
		}
	}
	hash.Write(rest[:])
	return [32]byte(hash.Sum(nil))
}
