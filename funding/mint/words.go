package mint

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/tyler-smith/go-bip39"
)

// Words writes an epoch's secret as 24 recovery words (BIP39). The words are
// the secret: whoever has them can make coins.
func Words(secret Secret) (string, error) {
	words, err := bip39.NewMnemonic(secret[:])
	if err != nil {
		return "", fmt.Errorf("write recovery words: %w", err)
	}
	return words, nil
}

// SecretFromWords reads recovery words: 24 are the secret itself, 12 are
// stretched to one. Case and spacing do not matter; the checksum word does.
func SecretFromWords(words string) (Secret, error) {
	fields := strings.Fields(strings.ToLower(words))
	if len(fields) != 12 && len(fields) != 24 {
		return Secret{}, fmt.Errorf("read recovery words: there are %d, it must be 12 or 24", len(fields))
	}
	for i, word := range fields {
		if _, known := bip39.GetWordIndex(word); !known {
			return Secret{}, fmt.Errorf("read recovery words: number %d is not in the list of words", i+1)
		}
	}
	entropy, err := bip39.EntropyFromMnemonic(strings.Join(fields, " "))
	if err != nil {
		return Secret{}, errors.New("read recovery words: the last word does not match the others; one is wrong or out of order")
	}
	if len(entropy) == SecretBytes {
		return Secret(entropy), nil
	}
	return sha256.Sum256(append([]byte("coinop/1/mint secret from 12 words"), entropy...)), nil
}
