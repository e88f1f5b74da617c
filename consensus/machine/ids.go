package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
)

// ClusterID names the cluster; it is drawn once, before the first entry.
type ClusterID [16]byte

// TokenHash is the SHA-256 of a token's secret.
type TokenHash [32]byte

// QuoteID names a quote of the mint; the API draws it, so it cannot be guessed.
type QuoteID [16]byte

// RequestID tells a repeated request from a new one. Key is a ULID, or zero where the client sent
// none; it is scoped to the coins or to the pot that pays. Fingerprint is the hash of all that the
// request asks for (mint.Fingerprint).
type RequestID struct {
	Key         [16]byte `cbor:"1,keyasint,omitzero"`
	Fingerprint [32]byte `cbor:"2,keyasint"`
}

// Payment is coins on their way into a pot, and their way back. Coins.Pay is what the pot gets;
// Coins.Outputs are signed at once, Coins.Blanks for what comes back at the end.
type Payment struct {
	Coins  mint.Admitted   `cbor:"1,keyasint"`
	Claim  funding.KeyHash `cbor:"2,keyasint,omitzero"`  // who may claim what the blanks cannot take
	Donate bool            `cbor:"3,keyasint,omitempty"` // what is left stays with the pot and then with the operator
}
