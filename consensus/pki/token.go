package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Token lets one member in, once. Its text is coinop-join-1.<kind>.<authority>.<secret>: who holds
// it can check the cluster before showing the secret.
type Token struct {
	Kind      Kind
	Authority Pin
	Secret    [32]byte
}

const tokenPrefix = "coinop-join-1"

// NewToken draws a token's secret.
func NewToken(kind Kind, authority Pin) (Token, error) {
	if !kind.Known() {
		return Token{}, fmt.Errorf("make a join token: no kind %q", kind)
	}
	t := Token{Kind: kind, Authority: authority}
	if _, err := rand.Read(t.Secret[:]); err != nil {
		return Token{}, fmt.Errorf("make a join token: %w", err)
	}
	return t, nil
}

// String is the text that the operator carries to the new member.
func (t Token) String() string {
	return tokenPrefix + "." + string(t.Kind) + "." + hex.EncodeToString(t.Authority[:]) + "." + hex.EncodeToString(t.Secret[:])
}

// Hash is what the replicated state keeps of the secret.
func (t Token) Hash() [32]byte { return HashSecret(t.Secret) }

// HashSecret is Token.Hash for a secret that came alone.
func HashSecret(secret [32]byte) [32]byte {
	return sha256.Sum256(secret[:])
}

// ParseToken reads a token's text; blanks around it are ignored.
func ParseToken(text string) (Token, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 4 || parts[0] != tokenPrefix {
		return Token{}, errors.New("read the join token: it must look like " + tokenPrefix + ".KIND.AUTHORITY.SECRET")
	}
	t := Token{Kind: Kind(parts[1])}
	if !t.Kind.Known() {
		return Token{}, fmt.Errorf("read the join token: no kind %q", parts[1])
	}
	for i, into := range [][]byte{t.Authority[:], t.Secret[:]} {
		b, err := hex.DecodeString(parts[2+i])
		if err != nil || len(b) != len(into) {
			return Token{}, fmt.Errorf("read the join token: part %d is not 64 hex digits", 3+i)
		}
		copy(into, b)
	}
	return t, nil
}
