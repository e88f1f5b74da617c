package cashu

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

func TestAnOldTokenIsReadAndWrittenAlike(t *testing.T) {
	token, err := DecodeToken(tokenVector0)
	if err != nil {
		t.Fatal(err)
	}
	if token.Mint != "https://8333.space:3338" || token.Unit != "sat" || token.Memo != "Thank you." || len(token.Proofs) != 2 {
		t.Errorf("read %+v", token)
	}
	want := Proof{Amount: 8, ID: "009a1f293253e41e", Secret: "fe15109314e61d7756b0f8ee0f23a624acaa3f4e042f61433c728c7057b931be",
		C: mustPoint(t, "029e8e5050b890a7d6c0968db16bc1d5d5fa040ea1de284f6ec69d61299f671059")}
	if diff := cmp.Diff(want, token.Proofs[1]); diff != "" {
		t.Error(diff)
	}
	again, err := EncodeTokenV3(token)
	if err != nil || again != tokenVector0 {
		t.Errorf("written as %s %v", again, err)
	}
}

func TestPaddingMayBeThereOrNot(t *testing.T) {
	with, err := DecodeToken(tokenVector2)
	if err != nil {
		t.Fatal(err)
	}
	without, err := DecodeToken(tokenVector3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(with, without); diff != "" {
		t.Error(diff)
	}
	link, err := DecodeToken(" cashu:" + tokenVector3 + "\n")
	if err != nil || !cmp.Equal(link, without) {
		t.Errorf("as a link: %v", err)
	}
}

func TestANewTokenIsReadAndWrittenAlike(t *testing.T) {
	token, err := DecodeToken(tokenVector4)
	if err != nil {
		t.Fatal(err)
	}
	want := Token{Mint: "http://localhost:3338", Unit: "sat", Memo: "Thank you", Proofs: []Proof{{
		Amount: 1, ID: "00ad268c4d1f5826", Secret: "9a6dbb847bd232ba76db0df197216b29d3b8cc14553cd27827fc1cc942fedb4e",
		C: mustPoint(t, "038618543ffb6b8695df4ad4babcde92a34a96bdcd97dcee0d7ccf98d472126792"),
	}}}
	if diff := cmp.Diff(want, token); diff != "" {
		t.Error(diff)
	}
	again, err := EncodeToken(token)
	if err != nil || again != strings.TrimRight(tokenVector4, "=") {
		t.Errorf("written as %s %v", again, err)
	}
	raw, err := EncodeTokenRaw(token)
	if err != nil || hex.EncodeToString(raw) != tokenVectorRaw {
		t.Errorf("bytes %x %v", raw, err)
	}
	fromRaw, err := DecodeTokenRaw(raw)
	if err != nil || !cmp.Equal(fromRaw, token) {
		t.Errorf("from bytes: %v", err)
	}
}

func TestATokenOfTwoKeysetsIsReadAndWrittenAlike(t *testing.T) {
	token, err := DecodeToken(tokenVector5)
	if err != nil {
		t.Fatal(err)
	}
	if len(token.Proofs) != 3 || token.Proofs[0].ID != "00ffd48b8f5ecf80" || token.Proofs[2].ID != "00ad268c4d1f5826" || token.Proofs[1].Amount != 2 {
		t.Errorf("read %+v", token)
	}
	if again, err := EncodeToken(token); err != nil || again != tokenVector5 {
		t.Errorf("written as %s %v", again, err)
	}
}

func TestATokenCarriesProofsForItsReceiver(t *testing.T) {
	r := mustScalar(t, "a6d13fcd7a18442e6076f5e1e7c887ad5de40a019824bdfa9fe740d302e8d861")
	token := Token{Mint: "http://127.0.0.1:2770/mint/", Unit: "credit", Proofs: []Proof{{
		Amount: 4, ID: "015ba18a8adcd02e715a58358eb618da4a4b3791151a4bee5e968bb88406ccf76a", Secret: "abc",
		C:    mustPoint(t, "024369d2d22a80ecf78f3937da9d5f30c1b9f74f0c32684d583cca0fa6a61cdcfc"),
		DLEQ: &DLEQ{E: r, S: r, R: &r},
	}}}
	for _, encode := range []func(Token) (string, error){EncodeToken, EncodeTokenV3} {
		text, err := encode(token)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeToken(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.Mint != "http://127.0.0.1:2770/mint" {
			t.Errorf("mint %s keeps its slash", got.Mint)
		}
		if diff := cmp.Diff(token.Proofs, got.Proofs); diff != "" {
			t.Error(diff)
		}
	}
}

func v4(t *testing.T, change func(*tokenV4)) string {
	t.Helper()
	point := mustPoint(t, "024369d2d22a80ecf78f3937da9d5f30c1b9f74f0c32684d583cca0fa6a61cdcfc")
	in := tokenV4{Mint: "http://mint", Unit: "credit", Entries: []tokenV4Entry{{
		ID: unhex(t, "00ad268c4d1f5826"), Proofs: []tokenV4Proof{{Amount: 1, Secret: "s", C: point[:]}}}}}
	change(&in)
	raw, err := cbor.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return "cashuB" + base64.RawURLEncoding.EncodeToString(raw)
}

func TestBadTokensAreRefused(t *testing.T) {
	if _, err := DecodeToken(v4(t, func(*tokenV4) {})); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	coin := func(change func(*tokenV4Proof)) func(*tokenV4) {
		return func(in *tokenV4) { change(&in.Entries[0].Proofs[0]) }
	}
	off := unhex(t, "020000000000000000000000000000000000000000000000000000000000000005")
	for name, text := range map[string]string{
		"wrong prefix (vector)":   tokenVector1,
		"no prefix (vector)":      strings.TrimPrefix(tokenVector0, "cashuA"),
		"empty":                   "",
		"nothing after it":        "cashuB",
		"version Z":               "cashuZ" + tokenVector4[6:],
		"not base64":              "cashuB!!!!",
		"cut":                     tokenVector5[:100],
		"too long":                "cashuB" + strings.Repeat("A", tokenBytesMax),
		"no coins":                v4(t, func(in *tokenV4) { in.Entries = nil }),
		"no mint":                 v4(t, func(in *tokenV4) { in.Mint = "" }),
		"a long memo":             v4(t, func(in *tokenV4) { in.Memo = strings.Repeat("m", tokenTextMax+1) }),
		"a bad keyset":            v4(t, func(in *tokenV4) { in.Entries[0].ID = []byte{1} }),
		"worth nothing":           v4(t, coin(func(p *tokenV4Proof) { p.Amount = 0 })),
		"no secret":               v4(t, coin(func(p *tokenV4Proof) { p.Secret = "" })),
		"a long secret":           v4(t, coin(func(p *tokenV4Proof) { p.Secret = strings.Repeat("s", secretBytesMax+1) })),
		"signature off the curve": v4(t, coin(func(p *tokenV4Proof) { p.C = off })),
		"a short signature":       v4(t, coin(func(p *tokenV4Proof) { p.C = p.C[:32] })),
		"half a proof":            v4(t, coin(func(p *tokenV4Proof) { p.DLEQ = &tokenV4DLEQ{E: off[1:]} })),
		"a proof of zeros":        v4(t, coin(func(p *tokenV4Proof) { z := make([]byte, 32); p.DLEQ = &tokenV4DLEQ{E: z, S: z, R: z} })),
		"a coin twice":            v4(t, func(in *tokenV4) { in.Entries = append(in.Entries, in.Entries[0]) }),
		"sum above 64 bits": v4(t, func(in *tokenV4) {
			p := in.Entries[0].Proofs[0]
			p.Amount = 1 << 63
			q := p
			q.Secret = "t"
			in.Entries[0].Proofs = []tokenV4Proof{p, q}
		}),
		"of two mints":  "cashuA" + base64.RawURLEncoding.EncodeToString([]byte(`{"token":[{"mint":"a","proofs":[]},{"mint":"b","proofs":[]}]}`)),
		"more after it": "cashuA" + base64.RawURLEncoding.EncodeToString([]byte(`{"token":[{"mint":"a","proofs":[]}]} {}`)),
	} {
		if token, err := DecodeToken(text); err == nil {
			t.Errorf("%s: read as %+v", name, token)
		}
	}
	if _, err := DecodeTokenRaw([]byte("crawC")); err == nil {
		t.Error("bytes of another version were read")
	}
	if _, err := DecodeTokenRaw([]byte("crawB\xa0")); err == nil {
		t.Error("bytes without coins were read")
	}
}

func TestPaymentRequestsOfOthersAreRead(t *testing.T) {
	yes := true
	want := []PaymentRequest{
		{ID: "b7a90176", Amount: 10, Unit: "sat", Mints: []string{"https://nofees.testnut.cashu.space"}, Transports: []Transport{{Type: "nostr",
			Target: "nprofile1qy28wumn8ghj7un9d3shjtnyv9kh2uewd9hsz9mhwden5te0wfjkccte9curxven9eehqctrv5hszrthwden5te0dehhxtnvdakqqgydaqy7curk439ykptkysv7udhdhu68sucm295akqefdehkf0d495cwunl5",
			Tags:   [][]string{{"n", "17"}}}}},
		{ID: "4840f51e", Amount: 1000, Unit: "sat", Mints: []string{"https://mint.example.com"}, Description: "Product purchase", SingleUse: &yes,
			Transports: []Transport{{Type: "post", Target: "https://api.example.com/pay"}},
			Condition: &Condition{Kind: "P2PK", Data: "03baf0c3ac220366c2c397bf930579c4163435584f573b10910987c544c59e61f1",
				Tags: [][]string{{"purpose", "offline"}}}},
		{ID: "a2c12f45", Amount: 50, Unit: "sat", Mints: []string{"https://cashu.example.com"},
			Transports: []Transport{{Type: "post", Target: "https://api.example.com/receive"}}},
		{ID: "f92a51b8", Amount: 100, Unit: "sat", Mints: []string{"https://mint1.example.com", "https://mint2.example.com"},
			Transports: []Transport{{Type: "nostr", Target: "npub1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq28spj3",
				Tags: [][]string{{"n", "17"}, {"n", "9735"}}}}},
		{ID: "7f4a2b39", Unit: "sat", Mints: []string{"https://mint.example.com"}},
		{ID: "c9e45d2a", Amount: 500, Unit: "sat", Mints: []string{"https://mint.example.com"},
			Condition: &Condition{Kind: "P2PK", Data: "02c3b5bb27e361457c92d93d78dd73d3d53732110b2cfe8b50fbc0abc615e9c331",
				Tags: [][]string{{"timeout", "3600"}}}},
	}
	vectors := []string{requestVector0, requestVector1, requestVector2, requestVector3, requestVector4, requestVector5}
	exact := map[int]bool{0: true, 3: true, 4: true, 5: true} // the others spell out absent fields
	for i, text := range vectors {
		got, err := DecodePaymentRequest(text)
		if err != nil {
			t.Errorf("vector %d: %v", i, err)
			continue
		}
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Errorf("vector %d: %s", i, diff)
		}
		again, err := got.Encode()
		if err != nil || (exact[i] && again != text) {
			t.Errorf("vector %d is written as\n%s, want\n%s (%v)", i, again, text, err)
		}
		if back, err := DecodePaymentRequest(again); err != nil || !cmp.Equal(back, got) {
			t.Errorf("vector %d does not come back: %v", i, err)
		}
	}
}

func TestBadPaymentRequestsAreRefused(t *testing.T) {
	noUnit, err := cbor.Marshal(map[string]any{"a": 5})
	if err != nil {
		t.Fatal(err)
	}
	deep := strings.Repeat("\x81", 40) + "\x01"
	for name, text := range map[string]string{
		"empty":           "",
		"another version": "creqB" + requestVector4[5:],
		"cut":             requestVector0[:60],
		"not base64":      "creqA....",
		"too long":        "creqA" + strings.Repeat("A", payRequestBytesMax),
		"amount, no unit": "creqA" + base64.URLEncoding.EncodeToString(noUnit),
		"deeply nested":   "creqA" + base64.URLEncoding.EncodeToString([]byte("\xa1\x61m"+deep)),
		"a key twice":     "creqA" + base64.URLEncoding.EncodeToString([]byte("\xa2\x61u\x61a\x61u\x61b")),
		"amount negative": "creqA" + base64.URLEncoding.EncodeToString([]byte("\xa2\x61u\x61a\x61a\x20")),
	} {
		if r, err := DecodePaymentRequest(text); err == nil {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
	if _, err := (PaymentRequest{Amount: 1}).Encode(); err == nil {
		t.Error("an amount without a unit was written")
	}
}
