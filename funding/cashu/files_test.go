package cashu

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding/words"
)

// The protocol's own pages of test vectors, read as they are published. Those of them that matter most are also
// written into the other tests, which need no files.

// page is one page of vectors; the test is skipped where the files are not.
func page(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("COINOP_TESTDATA")
	if dir == "" {
		t.Skip("COINOP_TESTDATA names no folder of test vectors")
	}
	text, err := os.ReadFile(filepath.Join(dir, "cashu-vectors", name))
	if err != nil {
		t.Skip(err)
	}
	return string(text)
}

// between is the text from one mark to the next; the test fails where it is not.
func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, from)
	if !ok {
		t.Fatalf("the page has no %q", from)
	}
	part, _, _ := strings.Cut(rest, to)
	return part
}

// fields are all values of a name that stands before a colon, with or without quotation marks.
func fields(t *testing.T, text, name string, count int) []string {
	t.Helper()
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^\s*"?`+regexp.QuoteMeta(name)+`"?:\s*"?([0-9a-f]+)`).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	if len(all) != count {
		t.Fatalf("%d of %s, want %d", len(all), name, count)
	}
	return all
}

var fenced = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```")

// blocks are the fenced parts that begin as wanted.
func blocks(t *testing.T, text, begins string, count int) []string {
	t.Helper()
	var all []string
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		if strings.HasPrefix(strings.TrimSpace(m[1]), begins) {
			all = append(all, strings.TrimSpace(m[1]))
		}
	}
	if len(all) != count {
		t.Fatalf("%d blocks that begin with %q, want %d", len(all), begins, count)
	}
	return all
}

func TestPublishedCurve(t *testing.T) {
	text := page(t, "00-tests.md")
	points := fields(t, text, "Point", 3)
	for i, m := range fields(t, text, "Message", 3) {
		if got := HashToCurve(unhex(t, m)); got.String() != points[i] {
			t.Errorf("%s: %s, want %s", m, got, points[i])
		}
	}
	part := between(t, text, "### Blinded messages", "### Blinded signatures")
	factors, blinded := fields(t, part, "r", 2), fields(t, part, "B_", 2)
	for i, x := range fields(t, part, "x", 2) {
		if got, err := Blind(unhex(t, x), mustScalar(t, factors[i])); err != nil || got.String() != blinded[i] {
			t.Errorf("blind %s: %s %v, want %s", x, got, err, blinded[i])
		}
	}
	part = between(t, text, "### Blinded signatures", "## ")
	outputs, signed := fields(t, part, "B_", 2), fields(t, part, "C_", 2)
	for i, k := range fields(t, part, "mint private key", 2) {
		if got := multiply(t, mustScalar(t, k), mustPoint(t, outputs[i])); got.String() != signed[i] {
			t.Errorf("sign %s with %s: %s, want %s", outputs[i], k, got, signed[i])
		}
	}
}

func TestPublishedTokens(t *testing.T) {
	text := page(t, "00-tests.md")
	olds := regexp.MustCompile(`(?m)^cashuA\S+$`).FindAllString(text, -1)
	news := regexp.MustCompile(`(?m)^cashuB\S+$`).FindAllString(text, -1)
	bad := regexp.MustCompile(`(?m)^(casshuA|eyJ)\S+$`).FindAllString(text, -1)
	if len(olds) != 4 || len(news) != 2 || len(bad) != 2 {
		t.Fatalf("%d, %d, %d", len(olds), len(news), len(bad))
	}
	for i, token := range append(olds, news...) {
		got, err := DecodeToken(token)
		if err != nil {
			t.Errorf("token %d: %v", i, err)
			continue
		}
		write := EncodeToken
		if strings.HasPrefix(token, "cashuA") {
			write = EncodeTokenV3
		}
		again, err := write(got)
		if err != nil {
			t.Errorf("token %d: %v", i, err)
		}
		if back, err := DecodeToken(again); err != nil || !reflect.DeepEqual(back, got) {
			t.Errorf("token %d comes back as %+v, %v", i, back, err)
		}
	}
	for _, token := range bad {
		if _, err := DecodeToken(token); err == nil {
			t.Errorf("%.20s passes", token)
		}
	}
	raw := unhex(t, between(t, text, "to raw binary:\n\n`h'", "'`"))
	binary, err := DecodeTokenRaw(raw)
	if err != nil {
		t.Fatal(err)
	}
	if first, err := DecodeToken(news[0]); err != nil || !reflect.DeepEqual(first, binary) {
		t.Errorf("in binary form it is %+v, in text %+v (%v)", binary, first, err)
	}
	if again, err := EncodeTokenRaw(binary); err != nil || hex.EncodeToString(again) != hex.EncodeToString(raw) {
		t.Errorf("written as %x, want %x (%v)", again, raw, err)
	}
}

func TestPublishedKeys(t *testing.T) {
	for i, text := range blocks(t, page(t, "01-tests.md"), "{", 4) {
		var keys Keys
		err := json.Unmarshal([]byte(text), &keys)
		if good := i >= 2; good != (err == nil) {
			t.Errorf("keys %d: %v", i, err)
		}
	}
}

func TestPublishedKeysetIDs(t *testing.T) {
	old, text, ok := strings.Cut(page(t, "02-tests.md"), "## Version 2")
	if !ok {
		t.Fatal("the page has no second version")
	}
	ids := regexp.MustCompile("Keyset id: `([0-9a-f]+)`")
	olds, news := ids.FindAllStringSubmatch(old, -1), ids.FindAllStringSubmatch(text, -1)
	for i, keys := range blocks(t, old, "{", 2) {
		if got := readKeys(t, keys).IDv1(); string(got) != olds[i][1] {
			t.Errorf("version 1, %d: %s, want %s", i, got, olds[i][1])
		}
	}
	number := func(part, name string) int64 {
		m := regexp.MustCompile(name + ": `([0-9]+)`").FindStringSubmatch(part)
		if m == nil {
			return 0
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	parts := strings.Split(text, "### Vector")[1:]
	for i, keys := range blocks(t, text, "{", 3) {
		info := KeysetInfo{ID: KeysetID(news[i][1]), Unit: "sat", InputFeePPK: uint64(number(parts[i], "Input fee ppk"))}
		if expiry := number(parts[i], "Final expiry"); expiry != 0 {
			info.FinalExpiry = &expiry
		}
		if err := (KeysetKeys{Keys: readKeys(t, keys), KeysetInfo: info}).Verify(); err != nil {
			t.Errorf("version 2, %d: %v", i, err)
		}
		info.InputFeePPK++
		if (KeysetKeys{Keys: readKeys(t, keys), KeysetInfo: info}).Verify() == nil {
			t.Errorf("version 2, %d: another fee passes", i)
		}
	}
}

func TestPublishedProofsOfSignatures(t *testing.T) {
	text := page(t, "12-tests.md")
	part := between(t, text, "`hash_e` function", "## ")
	var points [][65]byte
	for _, name := range []string{"R1", "R2", "K", "C_"} {
		points = append(points, mustPointUnchecked(t, fields(t, part, name, 1)[0]))
	}
	if got, want := HashE(points...), fields(t, part, "hash(R1, R2, K, C_)", 1)[0]; hex.EncodeToString(got[:]) != want {
		t.Errorf("hash %x, want %s", got, want)
	}
	key := mustPoint(t, fields(t, between(t, text, "on `BlindSignature`", "## "), "A", 1)[0])
	blinded := mustPoint(t, fields(t, between(t, text, "on `BlindSignature`", "## "), "B_", 1)[0])
	pair := blocks(t, text, "{", 2)
	var signature BlindSignature
	var coin Proof
	if err := json.Unmarshal([]byte(pair[0]), &signature); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(pair[1]), &coin); err != nil {
		t.Fatal(err)
	}
	if err := signature.VerifyDLEQ(key, blinded); err != nil {
		t.Error("the signature: ", err)
	}
	if err := coin.VerifyDLEQ(mustPoint(t, fields(t, between(t, text, "on `Proof`", "```json"), "A", 1)[0])); err != nil {
		t.Error("the coin: ", err)
	}
	// The nonce's vectors are the mint's business; that their proof holds is ours.
	part = between(t, text, "Deterministic nonce", "Verification")
	proof := DLEQ{E: mustScalar(t, fields(t, part, "e", 1)[0]), S: mustScalar(t, fields(t, part, "s", 1)[0])}
	if err := VerifyDLEQ(proof, mustPoint(t, fields(t, part, "A", 1)[0]), mustPoint(t, fields(t, part, "B_", 1)[0]), mustPoint(t, fields(t, part, "C_", 1)[0])); err != nil {
		t.Error("the proof with the deterministic nonce: ", err)
	}
}

func TestPublishedSeeds(t *testing.T) {
	text := page(t, "13-tests.md")
	said := regexp.MustCompile(`"mnemonic": "([a-z ]+)"`).FindAllStringSubmatch(text, -1)
	old, second, _ := strings.Cut(text, "## Version 2")
	oldID := fields(t, old, "keyset_id", 1)[0]
	newID := regexp.MustCompile("keyset ID `([0-9a-f]{66})`").FindStringSubmatch(second)
	if len(said) != 2 || newID == nil {
		t.Fatalf("%d seeds, keyset %v", len(said), newID)
	}
	for i, part := range []string{old, second} {
		seed, err := words.Seed(said[i][1])
		if err != nil {
			t.Fatal(err)
		}
		id := []string{oldID, newID[1]}[i]
		for n := range 5 {
			secret, r, err := Derive(seed, KeysetID(id), uint64(n))
			if err != nil {
				t.Fatal(err)
			}
			if want := fields(t, part, "secret_"+strconv.Itoa(n), 1)[0]; secret != want {
				t.Errorf("%s, secret %d: %s, want %s", id, n, secret, want)
			}
			if want := fields(t, part, "r_"+strconv.Itoa(n), 1)[0]; r.String() != want {
				t.Errorf("%s, factor %d: %s, want %s", id, n, r, want)
			}
		}
	}
}

func TestPublishedPaymentRequests(t *testing.T) {
	text := page(t, "18-tests.md")
	encoded := regexp.MustCompile(`(?m)^creqA\S+$`).FindAllString(text, -1)
	if len(encoded) != 6 {
		t.Fatalf("%d requests", len(encoded))
	}
	for i, spelled := range blocks(t, text, "{", 6) {
		var want struct {
			ID    string   `json:"i"`
			Unit  string   `json:"u"`
			Mints []string `json:"m"`
			About string   `json:"d"`
			Units Units    `json:"a"`
			NUT10 *struct {
				Kind string     `json:"k"`
				Data string     `json:"d"`
				Tags [][]string `json:"t"`
			} `json:"nut10"`
		}
		if err := json.Unmarshal([]byte(spelled), &want); err != nil {
			t.Fatal(err)
		}
		got, err := DecodePaymentRequest(encoded[i])
		if err != nil {
			t.Errorf("request %d: %v", i, err)
			continue
		}
		if got.ID != want.ID || got.Unit != want.Unit || got.Description != want.About || got.Amount != want.Units || (got.Condition != nil) != (want.NUT10 != nil) {
			t.Errorf("request %d: %+v, want %+v", i, got, want)
		}
		if i > 0 && !reflect.DeepEqual(got.Mints, want.Mints) { // the first one's page spells another mint than its bytes
			t.Errorf("request %d: mints %v, want %v", i, got.Mints, want.Mints)
		}
		if c := want.NUT10; c != nil && !reflect.DeepEqual(*got.Condition, Condition{Kind: c.Kind, Data: c.Data, Tags: c.Tags}) {
			t.Errorf("request %d: condition %+v, want %+v", i, got.Condition, c)
		}
	}
}

func TestPublishedQuoteSignatures(t *testing.T) {
	text := page(t, "20-test.md")
	key := regexp.MustCompile("`pubkey` .* is `([0-9a-f]{66})`").FindStringSubmatch(text)
	if key == nil {
		t.Fatal("no key")
	}
	pair := blocks(t, text, "{", 2)
	for i, good := range []bool{true, false} {
		var r MintRequest
		if err := json.Unmarshal([]byte(pair[i]), &r); err != nil {
			t.Fatal(err)
		}
		if err := r.VerifySignature(mustPoint(t, key[1])); (err == nil) != good {
			t.Errorf("signature %d: %v", i, err)
		}
	}
}

func TestPublishedConditionsAreSeen(t *testing.T) {
	secrets := regexp.MustCompile(`"secret": ("\[.*\]")`).FindAllStringSubmatch(page(t, "11-test.md"), -1)
	if len(secrets) < 5 {
		t.Fatalf("%d secrets", len(secrets))
	}
	for _, m := range secrets {
		secret, err := strconv.Unquote(m[1])
		if err != nil {
			t.Fatal(err)
		}
		if !IsCondition(secret) {
			t.Errorf("%s passes for a plain secret", secret)
		}
	}
}
