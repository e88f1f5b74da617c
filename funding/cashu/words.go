package cashu

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	_ "embed"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// wordList is BIP39's English list, 2,048 words in alphabetical order. It stays
// one text until words are asked for: most commands never do.
//
//go:embed words.txt
var wordList string

const (
	wordCount = 2048
	wordBits  = 11
)

var (
	errWords    = errors.New("recovery words: there must be 12, 15, 18, 21 or 24 of the list")
	errChecksum = errors.New("recovery words: the last does not match the others")
)

// Words writes 16 to 32 bytes as 12 to 24 recovery words (BIP39); the last
// carries a checksum.
func Words(entropy []byte) (string, error) {
	if len(entropy) < 16 || len(entropy) > 32 || len(entropy)%4 != 0 {
		return "", fmt.Errorf("recovery words hold 16, 20, 24, 28 or 32 bytes, not %d", len(entropy))
	}
	sum := sha256.Sum256(entropy)
	check := uint(len(entropy) / 4) // bits
	bits := new(big.Int).SetBytes(append(slices.Clone(entropy), sum[0]))
	bits.Rsh(bits, 8-check)
	list := strings.Fields(wordList)
	words := make([]string, (uint(len(entropy))*8+check)/wordBits)
	for i := len(words) - 1; i >= 0; i-- {
		words[i] = list[new(big.Int).And(bits, big.NewInt(wordCount-1)).Int64()]
		bits.Rsh(bits, wordBits)
	}
	return strings.Join(words, " "), nil
}

// WordsEntropy reads recovery words back and checks the checksum.
func WordsEntropy(words string) ([]byte, error) {
	fields := strings.Fields(words)
	if len(fields) < 12 || len(fields) > 24 || len(fields)%3 != 0 {
		return nil, errWords
	}
	list := strings.Fields(wordList)
	bits := new(big.Int)
	for _, word := range fields {
		i, known := slices.BinarySearch(list, word)
		if !known {
			return nil, errWords
		}
		bits.Lsh(bits, wordBits).Or(bits, big.NewInt(int64(i)))
	}
	check := uint(len(fields) / 3) // bits
	said := new(big.Int).And(bits, big.NewInt(1<<check-1)).Int64()
	entropy := make([]byte, check*4)
	bits.Rsh(bits, check).FillBytes(entropy)
	if sum := sha256.Sum256(entropy); int64(sum[0]>>(8-check)) != said {
		return nil, errChecksum
	}
	return entropy, nil
}

// KnownWord reports whether a word is in the list.
func KnownWord(word string) bool {
	_, known := slices.BinarySearch(strings.Fields(wordList), word)
	return known
}

// WordsSeed derives a wallet's seed from its words, which are to be checked
// before, and written as [Words] does. It takes milliseconds on purpose.
func WordsSeed(words string) ([]byte, error) {
	return pbkdf2.Key(sha512.New, words, []byte("mnemonic"), 2048, 64)
}
