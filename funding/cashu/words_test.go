package cashu

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/tyler-smith/go-bip39"
)

func TestWordsAreThoseOfBIP39(t *testing.T) {
	if list := strings.Fields(wordList); len(list) != wordCount || strings.Join(list, " ") != strings.Join(bip39.GetWordList(), " ") {
		t.Fatal("the list is not BIP39's")
	}
	for n := range 200 {
		sum := sha256.Sum256([]byte{byte(n)})
		entropy := sum[:16+4*(n%5)]
		if n < 10 { // bytes that numbers tend to lose
			entropy = bytes.Repeat([]byte{byte(n/5) * 0xff}, len(entropy))
		}
		words, err := Words(entropy)
		want, _ := bip39.NewMnemonic(entropy)
		if err != nil || words != want {
			t.Fatalf("%x: %q %v, want %q", entropy, words, err, want)
		}
		back, err := WordsEntropy("  " + strings.ReplaceAll(words, " ", " \n"))
		if err != nil || !bytes.Equal(back, entropy) {
			t.Fatalf("%q gives %x %v, want %x", words, back, err, entropy)
		}
		if n%40 == 0 {
			if seed, err := WordsSeed(words); err != nil || !bytes.Equal(seed, bip39.NewSeed(words, "")) {
				t.Fatalf("the seed of %q: %x %v", words, seed, err)
			}
		}
	}
}

func TestWrongWordsAreRefused(t *testing.T) {
	good, err := Words(bytes.Repeat([]byte{7}, 16))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(good)
	agreed := 0
	for i := range fields {
		for _, other := range strings.Fields(wordList)[:64] {
			changed := append([]string(nil), fields...)
			changed[i] = other
			text := strings.Join(changed, " ")
			_, err := WordsEntropy(text)
			if (err == nil) != bip39.IsMnemonicValid(text) {
				t.Fatalf("%q: %v", text, err)
			}
			agreed++
		}
	}
	if agreed != 12*64 {
		t.Errorf("%d tried", agreed)
	}
	for _, text := range []string{"", "abandon", good + " abandon", strings.Replace(good, fields[3], "coinop", 1), strings.ToUpper(good)} {
		if _, err := WordsEntropy(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	for _, n := range []int{0, 15, 17, 33, 36} {
		if _, err := Words(make([]byte, n)); err == nil {
			t.Errorf("%d bytes were written", n)
		}
	}
	if !KnownWord("zoo") || !KnownWord("abandon") || KnownWord("coinop") || KnownWord("") {
		t.Error("the list knows other words")
	}
}
