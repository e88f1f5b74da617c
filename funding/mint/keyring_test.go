package mint

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding/cashu"
)

func TestTheProofIsTheKnownOne(t *testing.T) {
	var keys pair
	keys.private[31] = 2
	public, ok := multiplyBase(&keys.private)
	if !ok || public.compress().String() != "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5" {
		t.Fatalf("public key %s", public.compress())
	}
	keys.public = public
	b, err := cashu.ParsePoint("02a9acc1e48c25eeeb9289b5031cc57da9fe72f3fe2861d264bdc074209b107ba2")
	if err != nil {
		t.Fatal(err)
	}
	blinded, ok := decompress(b)
	if !ok {
		t.Fatal("B_ is refused")
	}
	signed, ok := blinded.multiply(&keys.private)
	if !ok || signed.compress().String() != "0244eccfc7a348274458bb38044c7f3c389b3c2086c7ec18b5812d2877ab937787" {
		t.Fatalf("C_ %s", signed.compress())
	}
	proof, err := prove(&keys, blinded, signed)
	if err != nil {
		t.Fatal(err)
	}
	if proof.E.String() != "2a16ffee280aff3c429045607f9b8e0bf8b35910c44c1b20b9dfaf01b263d7b3" ||
		proof.S.String() != "9df27731238334718d120d4f74611a7c668233f988e687ac3fb188f0a34a2dab" {
		t.Errorf("e %s s %s", proof.E, proof.S)
	}
	if err := cashu.VerifyDLEQ(proof, public.compress(), b, signed.compress()); err != nil {
		t.Error(err)
	}
}

func TestSignaturesAreTheKnownOnes(t *testing.T) {
	b, err := cashu.ParsePoint("02a9acc1e48c25eeeb9289b5031cc57da9fe72f3fe2861d264bdc074209b107ba2")
	if err != nil {
		t.Fatal(err)
	}
	blinded, _ := decompress(b)
	for key, want := range map[string]string{
		strings.Repeat("0", 63) + "1": "02a9acc1e48c25eeeb9289b5031cc57da9fe72f3fe2861d264bdc074209b107ba2",
		strings.Repeat("7f", 32):      "0398bc70ce8184d27ba89834d19f5199c84443c31131e48d3c1214db24247d005d",
	} {
		raw, err := hex.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		private := [32]byte(raw)
		if got, ok := blinded.multiply(&private); !ok || got.compress().String() != want {
			t.Errorf("%s: %s, want %s", key, got.compress(), want)
		}
	}
	for _, key := range []string{strings.Repeat("0", 64), strings.Repeat("f", 64)} {
		raw, _ := hex.DecodeString(key)
		private := [32]byte(raw)
		if _, ok := multiplyBase(&private); ok {
			t.Errorf("%s is taken for a key", key)
		}
	}
}

func TestTheSameOutputIsSignedWithTheSameBytesOnEveryServer(t *testing.T) {
	b := newBench(t)
	other, err := NewKeyring([]Epoch{{Number: 7}, testEpoch}, b.keysets)
	if err != nil {
		t.Fatal(err)
	}
	message, _, _ := b.output(t, 0, 8)
	one, err := b.ring.Sign(message.ID, 8, message.B_)
	if err != nil {
		t.Fatal(err)
	}
	two, err := other.Sign(message.ID, 8, message.B_)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := json.Marshal(one)
	second, _ := json.Marshal(two)
	if string(first) != string(second) {
		t.Errorf("%s\n%s", first, second)
	}
	key, _ := b.keysets[0].Keys.For(8)
	if err := one.VerifyDLEQ(key, message.B_); err != nil {
		t.Error(err)
	}
	wrong, _ := b.keysets[0].Keys.For(16)
	if one.VerifyDLEQ(wrong, message.B_) == nil {
		t.Error("the proof holds for another amount's key")
	}
}

func TestEveryCoinVerifiesWithItsOwnKeyOnly(t *testing.T) {
	b := newBench(t)
	for power := 0; power < cashu.CoinKinds; power += 31 {
		coin := b.coin(t, 0, 1<<power)
		if err := b.ring.Verify(coin, coin.Y()); err != nil {
			t.Errorf("2^%d: %v", power, err)
		}
		dearer := coin
		dearer.Amount = 1 << ((power + 1) % 32)
		if b.ring.Verify(dearer, dearer.Y()) == nil {
			t.Errorf("2^%d passes as %d", power, dearer.Amount)
		}
		moved := coin
		moved.ID = b.keysets[1].ID
		if b.ring.Verify(moved, moved.Y()) == nil {
			t.Errorf("2^%d passes in another keyset", power)
		}
		negated := coin
		negated.C[0] ^= 1
		if b.ring.Verify(negated, negated.Y()) == nil {
			t.Errorf("2^%d passes with the negated point", power)
		}
	}
	coin := b.coin(t, 0, 1)
	coin.ID = "00456a94ab4e1c46"
	if b.ring.Verify(coin, coin.Y()) == nil {
		t.Error("a coin of no keyset passes")
	}
	coin = b.coin(t, 0, 1)
	if b.ring.Verify(coin, cashu.Point{2, 5}) == nil {
		t.Error("a point off the curve passes")
	}
	if _, err := b.ring.Sign(b.keysets[0].ID, 1, cashu.Point{2, 31: 0, 32: 5}); err == nil {
		t.Error("a point off the curve is signed")
	}
	if _, err := b.ring.Sign(b.keysets[0].ID, 3, coin.C); err == nil {
		t.Error("an amount of no coin is signed")
	}
}

func TestAServerWithAnotherSecretRefusesToSign(t *testing.T) {
	keyset := define(t, 1, "credit", 0)
	for name, epochs := range map[string][]Epoch{
		"another secret": {{Number: 1, Secret: Secret{9}}},
		"no secret":      nil,
		"another epoch":  {{Number: 2, Secret: testEpoch.Secret}},
	} {
		if _, err := NewKeyring(epochs, []Keyset{keyset}); err == nil {
			t.Errorf("%s opens the keyset", name)
		}
	}
	touched := keyset
	touched.Keys = append(cashu.Keys(nil), keyset.Keys...)
	touched.Keys[3].Point = keyset.Keys[4].Point
	if _, err := NewKeyring([]Epoch{testEpoch}, []Keyset{touched}); err == nil {
		t.Error("a state with another public key opens")
	}
	closed := keyset
	closed.State = KeysetClosed
	ring, err := NewKeyring(nil, []Keyset{closed})
	if err != nil || ring.Has(keyset.ID) {
		t.Errorf("a closed keyset needs no secret: %v", err)
	}
}

func TestKeysetsDifferInNumberUnitAndEpoch(t *testing.T) {
	base := define(t, 1, "credit", 0)
	if again := define(t, 1, "credit", 0); again.ID != base.ID {
		t.Error("the same definition gives another keyset")
	}
	other, err := Define(Epoch{Number: 2, Secret: Secret{4}}, 1, "credit", 0, expiry)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]Keyset{"number": define(t, 2, "credit", 0), "unit": define(t, 1, "sat", 0), "epoch": other} {
		for i := range k.Keys {
			if k.Keys[i].Point == base.Keys[i].Point {
				t.Errorf("another %s has the same key %d", name, i)
			}
		}
	}
	if err := base.WithKeys().Verify(); err != nil {
		t.Error(err)
	}
}

func TestSecretsStayOutOfLogs(t *testing.T) {
	text := fmt.Sprintf("%v %+v %#v %s", testEpoch, testEpoch, testEpoch, testEpoch.Secret)
	if strings.Contains(text, "1, 2, 3") || strings.Contains(text, "1 2 3") || strings.Contains(text, "010203") || strings.Contains(text, "0x1, 0x2") {
		t.Error(text)
	}
}

func TestKeysetsOnlyMoveOn(t *testing.T) {
	k := define(t, 1, "credit", 0)
	for _, step := range []struct {
		from, to KeysetState
		ok       bool
	}{
		{KeysetActive, KeysetActive, true}, {KeysetActive, KeysetRetiring, true}, {KeysetActive, KeysetClosed, true},
		{KeysetRetiring, KeysetClosed, true}, {KeysetRetiring, KeysetActive, false},
		{KeysetClosed, KeysetRetiring, false}, {KeysetClosed, KeysetActive, false}, {KeysetActive, 0, false}, {KeysetActive, 4, false},
	} {
		k.State = step.from
		moved, err := k.Move(step.to)
		if (err == nil) != step.ok {
			t.Errorf("%s to %s: %v", step.from, step.to, err)
		}
		if err == nil && moved.State != step.to {
			t.Errorf("%s to %s: it is %s", step.from, step.to, moved.State)
		}
	}
	k.State = KeysetActive
	if k.StateAt(expiry*1000-1) != KeysetActive || k.StateAt(expiry*1000) != KeysetClosed {
		t.Error("a keyset does not close at its final expiry")
	}
	k.FinalExpiry = 0
	if k.StateAt(1<<60) != KeysetActive || k.Info().FinalExpiry != nil {
		t.Error("a keyset without expiry expires")
	}
}

func TestKeysetsThatNoClusterMayHoldAreRefused(t *testing.T) {
	if err := CheckKeyset(define(t, 1, "credit", 0)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Keyset){
		"number":        func(k *Keyset) { k.Number = 0 },
		"epoch":         func(k *Keyset) { k.Epoch = 0 },
		"unit":          func(k *Keyset) { k.Unit = "" },
		"state":         func(k *Keyset) { k.State = 0 },
		"fee":           func(k *Keyset) { k.InputFeePPK = InputFeePPKMax + 1 },
		"fee not in id": func(k *Keyset) { k.InputFeePPK = 5 },
		"expiry":        func(k *Keyset) { k.FinalExpiry = -1 },
		"keys":          func(k *Keyset) { k.Keys = k.Keys[:31] },
		"amounts":       func(k *Keyset) { k.Keys = append(cashu.Keys(nil), k.Keys...); k.Keys[0].Amount = 3 },
		"id":            func(k *Keyset) { k.ID = "00456a94ab4e1c46" },
	} {
		k := define(t, 1, "credit", 0)
		change(&k)
		if CheckKeyset(k) == nil {
			t.Errorf("a keyset with a wrong %s passes", name)
		}
	}
	if _, err := Define(testEpoch, 1, "credit", InputFeePPKMax+1, 0); err == nil {
		t.Error("a keyset with too high a fee is defined")
	}
}

func BenchmarkSign(b *testing.B) {
	m := newBench(b)
	message, _, _ := m.output(b, 0, 8)
	for b.Loop() {
		if _, err := m.ring.Sign(message.ID, 8, message.B_); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	m := newBench(b)
	coin := m.coin(b, 0, 8)
	for b.Loop() {
		if err := m.ring.Verify(coin, coin.Y()); err != nil {
			b.Fatal(err)
		}
	}
}
