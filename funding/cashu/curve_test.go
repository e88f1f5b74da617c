package cashu

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func mustPoint(t testing.TB, text string) Point {
	t.Helper()
	p, err := ParsePoint(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func mustScalar(t testing.TB, text string) Scalar {
	t.Helper()
	s, err := ParseScalar(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// multiply signs as a mint would; in time that depends on the key, so only here.
func multiply(t testing.TB, k Scalar, p Point) Point {
	t.Helper()
	n, err := k.modN()
	if err != nil {
		t.Fatal(err)
	}
	j, err := p.jacobian()
	if err != nil {
		t.Fatal(err)
	}
	var out secp256k1.JacobianPoint
	secp256k1.ScalarMultNonConst(&n, &j, &out)
	q, err := compress(&out)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestASecretHashesToTheSamePointEverywhere(t *testing.T) {
	for _, c := range []struct{ message, point string }{
		{"0000000000000000000000000000000000000000000000000000000000000000", "024cce997d3b518f739663b757deaec95bcd9473c30a14ac2fd04023a739d1a725"},
		{"0000000000000000000000000000000000000000000000000000000000000001", "022e7158e11c9506f1aa4248bf531298daa7febd6194f003edcd9b93ade6253acf"},
		{"0000000000000000000000000000000000000000000000000000000000000002", "026cdbe15362df59cd1dd3c9c11de8aedac2106eca69236ecd9fbe117af897be4f"},
	} {
		if got := HashToCurve(unhex(t, c.message)); got.String() != c.point {
			t.Errorf("%s: %s, want %s", c.message, got, c.point)
		}
	}
}

func TestBlindingGivesTheKnownPoints(t *testing.T) {
	for _, c := range []struct{ secret, r, blinded string }{
		{"d341ee4871f1f889041e63cf0d3823c713eea6aff01e80f1719f08f9e5be98f6", "99fce58439fc37412ab3468b73db0569322588f62fb3a49182d67e23d877824a", "033b1a9737a40cc3fd9b6af4b723632b76a67a36782596304612a6c2bfb5197e6d"},
		{"f1aaf16c2239746f369572c0784d9dd3d032d952c2d992175873fb58fae31a60", "f78476ea7cc9ade20f9e05e58a804cf19533f03ea805ece5fee88c8e2874ba50", "029bdf2d716ee366eddf599ba252786c1033f47e230248a4612a5670ab931f1763"},
	} {
		got, err := Blind(unhex(t, c.secret), mustScalar(t, c.r))
		if err != nil || got.String() != c.blinded {
			t.Errorf("blind %s: %s %v, want %s", c.secret, got, err, c.blinded)
		}
	}
}

func TestWhatWasBlindedAndSignedIsTheSignatureOnTheSecret(t *testing.T) {
	k := mustScalar(t, "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f")
	r := mustScalar(t, "99fce58439fc37412ab3468b73db0569322588f62fb3a49182d67e23d877824a")
	key, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("a coin of mine")
	blinded, err := Blind(secret, r)
	if err != nil {
		t.Fatal(err)
	}
	signed := multiply(t, k, blinded)
	coin, err := Unblind(signed, r, key)
	if err != nil {
		t.Fatal(err)
	}
	if want := multiply(t, k, HashToCurve(secret)); coin != want {
		t.Errorf("unblinded %s, want %s", coin, want)
	}
	again, err := Reblind(coin, r, key)
	if err != nil || again != signed {
		t.Errorf("reblinded %s %v, want %s", again, err, signed)
	}
}

func TestPointsOffTheCurveAreRefused(t *testing.T) {
	good := "024cce997d3b518f739663b757deaec95bcd9473c30a14ac2fd04023a739d1a725"
	for name, text := range map[string]string{
		"empty":         "",
		"a byte short":  good[:64],
		"a byte long":   good + "00",
		"uncompressed":  "04fd4ce5a16b65576145949e6f99f445f8249fee17c606b688b504a849cdc452de3625246cb2c27dac965cb7200a5986467eee92eb7d496bbf1453b074e223e481",
		"hybrid":        "06" + good[2:],
		"no such x":     "020000000000000000000000000000000000000000000000000000000000000005",
		"x at the size": "02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
		"not hex":       "zz" + good[2:],
		"infinity":      "000000000000000000000000000000000000000000000000000000000000000000",
	} {
		if p, err := ParsePoint(text); err == nil {
			t.Errorf("%s: read as %s", name, p)
		}
	}
	var p Point
	if err := p.UnmarshalBinary(unhex(t, "05"+good[2:])); err == nil {
		t.Error("binary with prefix 05 was read")
	}
	if err := p.UnmarshalBinary([]byte{2, 3}); err == nil {
		t.Error("two bytes were read as a point")
	}
	raw, _ := mustPoint(t, good).MarshalBinary()
	if err := p.UnmarshalBinary(raw); err != nil || p.String() != good {
		t.Errorf("binary and back: %s %v", p, err)
	}
}

func TestScalarsOutsideTheFieldAreRefused(t *testing.T) {
	for _, text := range []string{
		"", "00", "0000000000000000000000000000000000000000000000000000000000000000",
		"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		if s, err := ParseScalar(text); err == nil {
			t.Errorf("%q was read as %s", text, s)
		}
	}
	var zero Scalar
	if _, err := zero.Public(); err == nil {
		t.Error("zero has a public key")
	}
	if _, err := Blind([]byte("x"), zero); err == nil {
		t.Error("blinded with zero, which hides nothing")
	}
	if _, err := Unblind(mustPoint(t, "02a9acc1e48c25eeeb9289b5031cc57da9fe72f3fe2861d264bdc074209b107ba2"), Scalar{31: 1}, Point{}); err == nil {
		t.Error("unblinded with no key")
	}
}

func TestTheHashOfAProofIsTheKnownOne(t *testing.T) {
	one := mustPointUnchecked(t, "020000000000000000000000000000000000000000000000000000000000000001")
	signed, err := mustPoint(t, "02a9acc1e48c25eeeb9289b5031cc57da9fe72f3fe2861d264bdc074209b107ba2").Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	got := HashE(one, one, one, signed)
	if want := "a4dc034b74338c28c6bc3ea49731f2a24440fc7c4affc08b31a93fc9fbe6401e"; hex.EncodeToString(got[:]) != want {
		t.Errorf("hash %x, want %s", got, want)
	}
}

func mustPointUnchecked(t testing.TB, text string) [65]byte {
	t.Helper()
	u, err := mustPoint(t, text).Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAProofOnASignatureHoldsAndATouchedOneDoesNot(t *testing.T) {
	key := mustPoint(t, "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	blinded := mustPoint(t, "02a9acc1e48c25eeeb9289b5031cc57da9fe72f3fe2861d264bdc074209b107ba2")
	var signature BlindSignature
	err := json.Unmarshal([]byte(`{"amount":8,"id":"00882760bfa2eb41",
		"C_":"02a9acc1e48c25eeeb9289b5031cc57da9fe72f3fe2861d264bdc074209b107ba2",
		"dleq":{"e":"9818e061ee51d5c8edc3342369a554998ff7b4381c8652d724cdf46429be73d9",
		"s":"9818e061ee51d5c8edc3342369a554998ff7b4381c8652d724cdf46429be73da"}}`), &signature)
	if err != nil {
		t.Fatal(err)
	}
	if err := signature.VerifyDLEQ(key, blinded); err != nil {
		t.Errorf("the valid proof: %v", err)
	}
	other := HashToCurve([]byte("another"))
	if signature.VerifyDLEQ(other, blinded) == nil {
		t.Error("it holds for another key")
	}
	if signature.VerifyDLEQ(key, other) == nil {
		t.Error("it holds for another output")
	}
	touched := signature
	touched.C_ = other
	if touched.VerifyDLEQ(key, blinded) == nil {
		t.Error("it holds for another signature")
	}
	touched = signature
	touched.DLEQ = &DLEQ{E: signature.DLEQ.S, S: signature.DLEQ.E}
	if touched.VerifyDLEQ(key, blinded) == nil {
		t.Error("it holds with e and s changed")
	}
	touched.DLEQ = nil
	if touched.VerifyDLEQ(key, blinded) == nil {
		t.Error("it holds without a proof")
	}
}

func TestCarolChecksACoinWithoutTheMint(t *testing.T) {
	key := mustPoint(t, "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	var coin Proof
	err := json.Unmarshal([]byte(`{"amount":1,"id":"00882760bfa2eb41",
		"secret":"daf4dd00a2b68a0858a80450f52c8a7d2ccf87d375e43e216e0c571f089f63e9",
		"C":"024369d2d22a80ecf78f3937da9d5f30c1b9f74f0c32684d583cca0fa6a61cdcfc",
		"dleq":{"e":"b31e58ac6527f34975ffab13e70a48b6d2b0d35abc4b03f0151f09ee1a9763d4",
		"s":"8fbae004c59e754d71df67e392b6ae4e29293113ddc2ec86592a0431d16306d8",
		"r":"a6d13fcd7a18442e6076f5e1e7c887ad5de40a019824bdfa9fe740d302e8d861"}}`), &coin)
	if err != nil {
		t.Fatal(err)
	}
	if err := coin.VerifyDLEQ(key); err != nil {
		t.Errorf("the valid coin: %v", err)
	}
	forged := coin
	forged.Secret = "daf4dd00a2b68a0858a80450f52c8a7d2ccf87d375e43e216e0c571f089f63ea"
	if forged.VerifyDLEQ(key) == nil {
		t.Error("another secret passes")
	}
	bare := coin.Bare()
	if bare.DLEQ != nil || bare.VerifyDLEQ(key) == nil {
		t.Error("a stripped coin still carries or passes a proof")
	}
	if coin.DLEQ == nil {
		t.Error("stripping a copy changed the coin")
	}
}

// Two libraries open points; what one takes the other must take, and as the same.
func TestPointsAreOpenedAlikeByBothLibraries(t *testing.T) {
	taken := 0
	check := func(p Point) {
		t.Helper()
		key, err := secp256k1.ParsePubKey(p[:])
		j, ours := p.jacobian()
		if (err == nil) != (ours == nil) || p.OnCurve() != (err == nil) {
			t.Fatalf("%s: %v and %v", p, err, ours)
		}
		if err != nil {
			return
		}
		taken++
		var want secp256k1.JacobianPoint
		key.AsJacobian(&want)
		if !j.X.Equals(&want.X) || !j.Y.Equals(&want.Y) || !j.Z.Equals(&want.Z) {
			t.Fatalf("%s is opened as another point", p)
		}
		if long, err := p.Uncompressed(); err != nil || long != [65]byte(key.SerializeUncompressed()) {
			t.Fatalf("%s: %x %v", p, long, err)
		}
	}
	for n := range 500 {
		x := sha256.Sum256([]byte{byte(n), byte(n >> 8)})
		for prefix := range 8 {
			check(Point(append([]byte{byte(prefix)}, x[:]...)))
		}
	}
	var zero, all Point
	zero[0] = 2
	for i := range all {
		all[i] = 0xff
	}
	all[0] = 3
	field, _ := hex.DecodeString("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")
	check(zero)
	check(all)
	for d := range 16 { // around the field's end
		p := Point(append([]byte{2}, field...))
		p[PointBytes-1] += byte(d) - 8
		check(p)
	}
	if taken < 400 {
		t.Errorf("only %d were points", taken)
	}
}
