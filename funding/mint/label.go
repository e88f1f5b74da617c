package mint

import (
	"crypto/hmac"
	"crypto/sha256"
)

// Label derives a secret for another use than signing, the same one on every server that has the same keysets. It is
// a one-way function of one private key: who learns the result learns nothing of the key. A ring of no keysets has none.
func (r *Keyring) Label(use string) (secret [32]byte, ok bool) {
	var first *opened
	for _, keys := range r.keysets {
		if first == nil || keys.id < first.id {
			first = keys // not the newest: any that all servers agree on will do
		}
	}
	if first == nil {
		return secret, false
	}
	mac := hmac.New(sha256.New, first.pairs[0].private[:])
	mac.Write([]byte("coinop/1/label/" + use))
	return [32]byte(mac.Sum(nil)), true
}
