package cashu

import (
	"bytes"
	"encoding/json"
)

// Proof is a coin: a secret and the mint's signature on it.
type Proof struct {
	Amount  Units    `json:"amount"`
	ID      KeysetID `json:"id"`
	Secret  string   `json:"secret"`
	C       Point    `json:"C"`
	Witness string   `json:"witness,omitempty"`
	DLEQ    *DLEQ    `json:"dleq,omitempty"`
}

// Y is the point that the mint remembers once the coin is spent.
func (p Proof) Y() Point { return HashToCurve([]byte(p.Secret)) }

// Bare is the coin as a mint may see it: without the blinding factor, by which
// the mint could tell to whom it had issued the coin.
func (p Proof) Bare() Proof {
	p.DLEQ = nil
	return p
}

// Bare strips every coin, see [Proof.Bare].
func Bare(proofs []Proof) []Proof {
	bare := make([]Proof, len(proofs))
	for i, p := range proofs {
		bare[i] = p.Bare()
	}
	return bare
}

// BlindedMessage asks a mint to sign B_. In a blank the amount is zero until
// the mint decides it.
type BlindedMessage struct {
	Amount Units    `json:"amount"`
	ID     KeysetID `json:"id"`
	B_     Point    `json:"B_"` //nolint:revive // the protocol's own name
}

// BlindSignature is the mint's answer to a blinded message.
type BlindSignature struct {
	Amount Units    `json:"amount"`
	ID     KeysetID `json:"id"`
	C_     Point    `json:"C_"` //nolint:revive // the protocol's own name
	DLEQ   *DLEQ    `json:"dleq,omitempty"`
}

// DLEQ proves that a signature was made with the key that was published
// (NUT-12). R, the blinding factor, is there only when a coin is handed on to
// someone who wants to check it without asking the mint.
type DLEQ struct {
	E Scalar  `json:"e"`
	S Scalar  `json:"s"`
	R *Scalar `json:"r,omitempty"`
}

// IsCondition reports whether a secret has the form of a NUT-10 spending
// condition, ["KIND", {"nonce": …, "data": …, "tags": …}]. A mint that does not
// enforce conditions must refuse such coins rather than spend them for anyone.
func IsCondition(secret string) bool {
	trimmed := bytes.TrimSpace([]byte(secret))
	if len(trimmed) == 0 || trimmed[0] != '[' {
		return false
	}
	var parts []json.RawMessage
	if json.Unmarshal(trimmed, &parts) != nil || len(parts) != 2 {
		return false
	}
	var kind string
	var body map[string]json.RawMessage
	return json.Unmarshal(parts[0], &kind) == nil && json.Unmarshal(parts[1], &body) == nil && body != nil
}
