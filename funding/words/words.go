// Package words writes secrets as recovery words and reads them again, as BIP-39 has it: in English, without a passphrase.
package words

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SeedBytes is how long a seed is.
const SeedBytes = 64

const bitsOfWord = 11

// ErrChecksum says that recovery words do not belong together: one is wrong or out of order.
var ErrChecksum = errors.New("the recovery words do not match each other; one is wrong or out of order")

// ErrUnknown is a word that is none of the list.
type ErrUnknown struct{ Number int } // counted from one

func (e ErrUnknown) Error() string {
	return fmt.Sprintf("number %d of the recovery words is not in the list of words", e.Number)
}

// english is the list of BIP-39, 2,048 words in order. It is taken apart when it is asked for: most commands never do.
//
//go:embed english.txt
var english string

func list() []string { return strings.Fields(english) }

// From writes 16 to 32 bytes, in steps of four, as 12 to 24 words.
func From(entropy []byte) (string, error) {
	if !lengthFits(len(entropy)) {
		return "", fmt.Errorf("write recovery words: %d bytes: it must be 16 to 32, in steps of four", len(entropy))
	}
	all, bits := list(), checked(entropy)
	fields := make([]string, len(entropy)*3/4)
	for i := range fields {
		n := 0
		for b := i * bitsOfWord; b < (i+1)*bitsOfWord; b++ {
			n = n<<1 | int(bits[b/8]>>(7-b%8)&1)
		}
		fields[i] = all[n]
	}
	return strings.Join(fields, " "), nil
}

// Entropy reads the bytes that words stand for. Case and spacing do not matter. It returns ErrUnknown or ErrChecksum.
func Entropy(words string) ([]byte, error) {
	all, fields := list(), strings.Fields(strings.ToLower(words))
	size := len(fields) * 4 / 3
	if len(fields)%3 != 0 || !lengthFits(size) {
		return nil, fmt.Errorf("there are %d recovery words; it must be 12, 15, 18, 21 or 24", len(fields))
	}
	bits := make([]byte, size+1)
	for i, word := range fields {
		n, known := slices.BinarySearch(all, word)
		if !known {
			return nil, ErrUnknown{i + 1}
		}
		for b := range bitsOfWord {
			at := i*bitsOfWord + b
			bits[at/8] |= byte(n>>(bitsOfWord-1-b)&1) << (7 - at%8)
		}
	}
	// What is left of the last word after the bytes: a bit of checksum for each four of them.
	mask := byte(0xff) << (8 - size/4)
	if (checked(bits[:size])[size]^bits[size])&mask != 0 {
		return nil, ErrChecksum
	}
	return bits[:size], nil
}

// Seed stretches words to what wallets derive from. The words are to be as From writes them.
func Seed(words string) ([]byte, error) {
	return pbkdf2.Key(sha512.New, words, []byte("mnemonic"), 2048, SeedBytes)
}

// lengthFits says whether so many bytes can be words.
func lengthFits(bytes int) bool { return bytes >= 16 && bytes <= 32 && bytes%4 == 0 }

// checked is the entropy with the first byte of its checksum.
func checked(entropy []byte) []byte {
	sum := sha256.Sum256(entropy)
	return append(slices.Clone(entropy), sum[0])
}
