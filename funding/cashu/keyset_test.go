package cashu

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// keysJSON writes keys as a mint sends them.
func keysJSON(points []string) string {
	parts := make([]string, len(points))
	for i, p := range points {
		parts[i] = fmt.Sprintf(`"%d":"%s"`, uint64(1)<<i, p)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func readKeys(t testing.TB, text string) Keys {
	t.Helper()
	var keys Keys
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestKeysetIDsFollowFromKeys(t *testing.T) {
	small, big := readKeys(t, keysJSON(smallKeys)), readKeys(t, keysJSON(bigKeys))
	for _, c := range []struct {
		name string
		got  KeysetID
		want KeysetID
	}{
		{"v1 small", small.IDv1(), "00456a94ab4e1c46"},
		{"v1 big", big.IDv1(), "000f01df73ea149a"},
		{"v2 with fee and expiry", small.IDv2("sat", 100, 2059210353), "015ba18a8adcd02e715a58358eb618da4a4b3791151a4bee5e968bb88406ccf76a"},
		{"v2 with expiry", big.IDv2("sat", 0, 2059210353), "01ab6aa4ff30390da34986d84be5274b48ad7a74265d791095bfc39f4098d9764f"},
		{"v2 bare", big.IDv2("sat", 0, 0), "012fbb01a4e200c76df911eeba3b8fe1831202914b24664f4bccbd25852a6708f8"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
}

func TestAKeysetThatIsNotTheHashOfItsKeysIsRefused(t *testing.T) {
	small := readKeys(t, keysJSON(smallKeys))
	expiry := int64(2059210353)
	keyset := KeysetKeys{Keys: small, KeysetInfo: KeysetInfo{
		ID: "015ba18a8adcd02e715a58358eb618da4a4b3791151a4bee5e968bb88406ccf76a", Unit: "sat", InputFeePPK: 100, FinalExpiry: &expiry}}
	if err := keyset.Verify(); err != nil {
		t.Errorf("the true one: %v", err)
	}
	cheaper := keyset
	cheaper.InputFeePPK = 99
	if cheaper.Verify() == nil {
		t.Error("another fee passes under the same id")
	}
	older := KeysetKeys{Keys: small, KeysetInfo: KeysetInfo{ID: "00456a94ab4e1c46", Unit: "sat"}}
	if err := older.Verify(); err != nil {
		t.Errorf("an older keyset: %v", err)
	}
}

func TestKeysKeepTheirOrderAndForm(t *testing.T) {
	keys := readKeys(t, `{"8":"`+smallKeys[3]+`","1":"`+smallKeys[0]+`","4":"`+smallKeys[2]+`","2":"`+smallKeys[1]+`"}`)
	out, err := json.Marshal(keys)
	if err != nil || string(out) != keysJSON(smallKeys) {
		t.Errorf("%s %v", out, err)
	}
	if p, ok := keys.For(4); !ok || p.String() != smallKeys[2] {
		t.Errorf("key of 4: %s %v", p, ok)
	}
	if _, ok := keys.For(3); ok {
		t.Error("there is a key of 3")
	}
	if _, ok := keys.For(16); ok {
		t.Error("there is a key of 16")
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	p := smallKeys[0]
	for name, text := range map[string]string{
		"a byte short (vector)": `{"1":"03a40f20667ed53513075dc51e715ff2046cad64eb68960632269ba7f0210e38"}`,
		"uncompressed (vector)": `{"2":"04fd4ce5a16b65576145949e6f99f445f8249fee17c606b688b504a849cdc452de3625246cb2c27dac965cb7200a5986467eee92eb7d496bbf1453b074e223e481"}`,
		"twice":                 `{"1":"` + p + `","1":"` + p + `"}`,
		"zero":                  `{"0":"` + p + `"}`,
		"leading zero":          `{"01":"` + p + `"}`,
		"a sign":                `{"+1":"` + p + `"}`,
		"negative":              `{"-1":"` + p + `"}`,
		"not a number":          `{"one":"` + p + `"}`,
		"more than 64 bits":     `{"18446744073709551616":"` + p + `"}`,
		"none":                  `{}`,
		"null key":              `{"1":null}`,
		"not an object":         `["` + p + `"]`,
		"number for a key":      `{"1":2}`,
	} {
		var keys Keys
		if err := json.Unmarshal([]byte(text), &keys); err == nil {
			t.Errorf("%s: read as %v", name, keys)
		}
	}
	many := make([]string, keysMax+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"%d":"%s"`, i+1, p)
	}
	var keys Keys
	if json.Unmarshal([]byte("{"+strings.Join(many, ",")+"}"), &keys) == nil {
		t.Errorf("%d keys were read", len(many))
	}
}

func TestKeysetIDsAreReadStrictly(t *testing.T) {
	long := "015ba18a8adcd02e715a58358eb618da4a4b3791151a4bee5e968bb88406ccf76a"
	for _, good := range []string{long, "00456a94ab4e1c46", long[:16]} {
		if id, err := ParseKeysetID(good); err != nil || string(id) != good {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "02" + long[2:], strings.ToUpper(long), long[:64], long + "00", "00" + long[2:], "gg456a94ab4e1c46", "keyset_1"} {
		if _, err := ParseKeysetID(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	if !KeysetID(long[:16]).IsShort() || KeysetID(long).IsShort() || KeysetID("00456a94ab4e1c46").IsShort() {
		t.Error("short ids are told wrongly")
	}
}

func TestAShortKeysetIDMustStandForOne(t *testing.T) {
	a := KeysetID("015ba18a8adcd02e715a58358eb618da4a4b3791151a4bee5e968bb88406ccf76a")
	b := KeysetID("015ba18a8adcd02e" + strings.Repeat("0", 50))
	if got, err := a[:16].Resolve([]KeysetID{"00456a94ab4e1c46", a, a}); err != nil || got != a {
		t.Errorf("resolved to %s %v", got, err)
	}
	if _, err := a[:16].Resolve([]KeysetID{a, b}); err == nil {
		t.Error("an ambiguous id was resolved")
	}
	if _, err := a[:16].Resolve(nil); err == nil {
		t.Error("an unknown id was resolved")
	}
	if got, err := a.Resolve(nil); err != nil || got != a {
		t.Error("a whole id needs no resolving")
	}
}

func TestAmountsSplitIntoCoins(t *testing.T) {
	for _, amount := range []Units{0, 1, 2, 3, 900, 1 << 31, 1<<32 - 1, 1 << 32, 9_000_000_000} {
		coins := Split(amount)
		total, err := Sum(coins, func(u Units) Units { return u })
		if err != nil || total != amount || len(coins) != SplitCount(amount) {
			t.Errorf("%d splits into %v", amount, coins)
		}
		for i, coin := range coins {
			if !coin.IsCoin() || (i > 0 && coin < coins[i-1]) {
				t.Errorf("%d splits into %v", amount, coins)
			}
		}
	}
	if got := fmt.Sprint(Split(900)); got != "[4 128 256 512]" {
		t.Errorf("900 splits into %s", got)
	}
	for _, bad := range []Units{0, 3, 1 << 32, 1 << 63} {
		if _, ok := bad.Power(); ok || bad.IsCoin() {
			t.Errorf("%d is a coin", bad)
		}
	}
	if power, ok := Units(1 << 31).Power(); !ok || power != 31 {
		t.Errorf("2^31 has power %d", power)
	}
	if _, err := SumProofs([]Proof{{Amount: 1 << 63}, {Amount: 1 << 63}}); err == nil {
		t.Error("a total above 64 bits was given")
	}
	if total, err := SumSignatures([]BlindSignature{{Amount: 1}, {Amount: 2}}); err != nil || total != 3 {
		t.Errorf("signatures sum to %d %v", total, err)
	}
	if total, err := SumOutputs([]BlindedMessage{{Amount: 4}, {Amount: 2}}); err != nil || total != 6 {
		t.Errorf("outputs sum to %d %v", total, err)
	}
}
