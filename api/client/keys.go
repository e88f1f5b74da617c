package client

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Secret is what one job or pot is held by: made by the client and written down before it is sent.
type Secret [32]byte

// NewSecret draws a secret.
func NewSecret() Secret {
	var s Secret
	_, _ = rand.Read(s[:]) // never fails: the runtime ends the process instead
	return s
}

// ParseSecret reads a secret's 64 hex digits.
func ParseSecret(text string) (Secret, error) {
	var s Secret
	if len(text) != 2*len(s) {
		return s, fmt.Errorf("read secret: %d characters, want %d hex digits", len(text), 2*len(s))
	}
	if _, err := hex.Decode(s[:], []byte(text)); err != nil {
		return s, fmt.Errorf("read secret: %w", err)
	}
	return s, nil
}

// String keeps a secret out of logs.
func (Secret) String() string { return "secret" }

// Hex is the secret as it is written down.
func (s Secret) Hex() string { return hex.EncodeToString(s[:]) }

// Key is one of the secret's keys: control, view, spend, claim or fund. Whoever has it may do what it
// is for, and nothing else.
func (s Secret) Key(what string) string {
	sum := sha256.Sum256([]byte("coinop/1/" + what + "/" + s.Hex()))
	return hex.EncodeToString(sum[:])
}

// Keys is what the server is told of the secret.
func (s Secret) Keys() Keys {
	return Keys{
		Control: HashKey(s.Key("control")), View: HashKey(s.Key("view")), Spend: HashKey(s.Key("spend")),
		Claim: HashKey(s.Key("claim")), Fund: s.Key("fund"),
	}
}

// HashKey is what the server knows of a key, or of a token: the SHA-256 of its text as it travels.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// NewToken draws a token for a role; its hash is told to the servers with [Client.CreateToken].
func NewToken(role string) string {
	secret := NewSecret()
	return "coinop-" + role + "-" + secret.Hex()
}
