package words

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

// Of BIP-39's published vectors those that ask something different each; their seeds have a passphrase, which we never use.
func TestPublishedWords(t *testing.T) {
	for entropy, want := range map[string]string{
		"00000000000000000000000000000000":                                 strings.Repeat("abandon ", 11) + "about",
		"7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f":                                 "legal winner thank year wave sausage worth useful legal winner thank yellow",
		"ffffffffffffffffffffffffffffffff":                                 strings.Repeat("zoo ", 11) + "wrong",
		"808080808080808080808080808080808080808080808080":                 "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter always",
		"0000000000000000000000000000000000000000000000000000000000000000": strings.Repeat("abandon ", 23) + "art",
		"f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f": "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group space point ten exist slush involve unfold",
	} {
		raw, err := hex.DecodeString(entropy)
		if err != nil {
			t.Fatal(err)
		}
		got, err := From(raw)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", entropy, got, err, want)
		}
		back, err := Entropy("  " + strings.ToUpper(want) + "\n")
		if err != nil || !bytes.Equal(back, raw) {
			t.Errorf("%q: %x, %v", want, back, err)
		}
	}
}

// NUT-13's words and their seed with the empty passphrase are in funding/cashu; this one is BIP-39's first, without a passphrase.
func TestASeedFollowsFromWords(t *testing.T) {
	got, err := Seed(strings.Repeat("abandon ", 11) + "about")
	const want = "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc19a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4"
	if err != nil || hex.EncodeToString(got) != want {
		t.Fatalf("%x, %v", got, err)
	}
}

func TestEveryLengthReturns(t *testing.T) {
	for size := range 40 {
		raw := make([]byte, size)
		_, _ = rand.Read(raw)
		words, err := From(raw)
		if !lengthFits(size) {
			if err == nil {
				t.Errorf("%d bytes became %q", size, words)
			}
			continue
		}
		back, err := Entropy(words)
		if err != nil || !bytes.Equal(back, raw) {
			t.Errorf("%x: %q: %x, %v", raw, words, back, err)
		}
	}
}

func TestWrongWordsAreRefused(t *testing.T) {
	good := strings.Fields("legal winner thank year wave sausage worth useful legal winner thank yellow")
	with := func(i int, word string) string {
		w := slices.Clone(good)
		w[i] = word
		return strings.Join(w, " ")
	}
	var unknown ErrUnknown
	if _, err := Entropy(with(4, "wavy")); !errors.As(err, &unknown) || unknown.Number != 5 {
		t.Errorf("an unknown word: %v", err)
	}
	for _, words := range []string{with(0, "winner"), with(11, "zoo"), with(3, "wave")} {
		if _, err := Entropy(words); !errors.Is(err, ErrChecksum) {
			t.Errorf("%q: %v", words, err)
		}
	}
	for _, words := range []string{"", "legal", strings.Join(good[:11], " "), strings.Join(append(good, good...), " ") + " zoo"} {
		if _, err := Entropy(words); err == nil {
			t.Errorf("%q is taken", words)
		}
	}
}

func TestTheListIsWhole(t *testing.T) {
	const published = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
	if sum := sha256.Sum256([]byte(english)); hex.EncodeToString(sum[:]) != published {
		t.Errorf("the list's sum is %x, BIP-39's %s", sum, published)
	}
	all := list()
	if len(all) != 1<<bitsOfWord || !slices.IsSorted(all) || len(slices.Compact(all)) != 1<<bitsOfWord {
		t.Fatalf("%d words, in order: %v", len(all), slices.IsSorted(all))
	}
}
