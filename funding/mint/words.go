package mint

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/coinop/coinop/funding/words"
)

// Words writes an epoch's secret as 24 recovery words (BIP39). The words are
// the secret: whoever has them can make coins.
func Words(secret Secret) (string, error) {
	return words.From(secret[:])
}

// SecretFromWords reads recovery words: 24 are the secret itself, 12 are
// stretched to one. Case and spacing do not matter; the checksum word does.
func SecretFromWords(said string) (Secret, error) {
	if n := len(strings.Fields(said)); n != 12 && n != 24 {
		return Secret{}, fmt.Errorf("there are %d recovery words; it must be 12 or 24", n)
	}
	entropy, err := words.Entropy(said)
	if err != nil {
		return Secret{}, err
	}
	if len(entropy) == SecretBytes {
		return Secret(entropy), nil
	}
	return sha256.Sum256(append([]byte("coinop/1/mint secret from 12 words"), entropy...)), nil
}
