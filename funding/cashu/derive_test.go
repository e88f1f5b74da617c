package cashu

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding/words"
)

const seedWords = "half depart obvious quality work element tank gorilla view sugar picture humble"

func TestASeedGivesTheSameCoinsInEveryWallet(t *testing.T) {
	seed, err := words.Seed(seedWords)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id      KeysetID
		secrets []string
		factors []string
	}{
		{"009a1f293253e41e", []string{
			"485875df74771877439ac06339e284c3acfcd9be7abf3bc20b516faeadfe77ae",
			"8f2b39e8e594a4056eb1e6dbb4b0c38ef13b1b2c751f64f810ec04ee35b77270",
			"bc628c79accd2364fd31511216a0fab62afd4a18ff77a20deded7b858c9860c8",
			"59284fd1650ea9fa17db2b3acf59ecd0f2d52ec3261dd4152785813ff27a33bf",
			"576c23393a8b31cc8da6688d9c9a96394ec74b40fdaf1f693a6bb84284334ea0",
		}, []string{
			"ad00d431add9c673e843d4c2bf9a778a5f402b985b8da2d5550bf39cda41d679",
			"967d5232515e10b81ff226ecf5a9e2e2aff92d66ebc3edf0987eb56357fd6248",
			"b20f47bb6ae083659f3aa986bfa0435c55c6d93f687d51a01f26862d9b9a4899",
			"fb5fca398eb0b1deb955a2988b5ac77d32956155f1c002a373535211a2dfdc29",
			"5f09bfbfe27c439a597719321e061e2e40aad4a36768bb2bcc3de547c9644bf9",
		}},
		{"015ba18a8adcd02e715a58358eb618da4a4b3791151a4bee5e968bb88406ccf76a", []string{
			"db5561a07a6e6490f8dadeef5be4e92f7cebaecf2f245356b5b2a4ec40687298",
			"b70e7b10683da3bf1cdf0411206f8180c463faa16014663f39f2529b2fda922e",
			"78a7ac32ccecc6b83311c6081b89d84bb4128f5a0d0c5e1af081f301c7a513f5",
			"094a2b6c63bfa7970bc09cda0e1cfc9cd3d7c619b8e98fabcfc60aea9e4963e5",
			"5e89fc5d30d0bf307ddf0a3ac34aa7a8ee3702169dafa3d3fe1d0cae70ecd5ef",
		}, []string{
			"6d26181a3695e32e9f88b80f039ba1ae2ab5a200ad4ce9dbc72c6d3769f2b035",
			"bde4354cee75545bea1a2eee035a34f2d524cee2bb01613823636e998386952e",
			"f40cc1218f085b395c8e1e5aaa25dccc851be3c6c7526a0f4e57108f12d6dac4",
			"099ed70fc2f7ac769bc20b2a75cb662e80779827b7cc358981318643030577d0",
			"5550337312d223ba62e3f75cfe2ab70477b046d98e3e71804eade3956c7b98cf",
		}},
	} {
		for i := range c.secrets {
			secret, r, err := Derive(seed, c.id, uint64(i))
			if err != nil || secret != c.secrets[i] || r.String() != c.factors[i] {
				t.Errorf("%s %d: %s %s %v", c.id, i, secret, r, err)
			}
		}
	}
	for name, id := range map[string]KeysetID{"short": "015ba18a8adcd02e", "empty": ""} {
		if _, _, err := Derive(seed, id, 0); err == nil {
			t.Errorf("a %s id derives a coin", name)
		}
	}
	if _, _, err := Derive(seed, "009a1f293253e41e", 1<<31); err == nil {
		t.Error("the older path goes on past its end")
	}
}

const quoteKey = "03d56ce4e446a85bbdaa547b4ec2b073d40ff802831352b8272b7dd7a4de5a7cac"

func quoteRequest(t testing.TB, signature string) MintRequest {
	t.Helper()
	var r MintRequest
	err := json.Unmarshal([]byte(`{"quote":"9d745270-1405-46de-b5c5-e2762b4f5e00","outputs":[
		{"amount":1,"id":"00456a94ab4e1c46","B_":"0342e5bcc77f5b2a3c2afb40bb591a1e27da83cddc968abdc0ec4904201a201834"},
		{"amount":1,"id":"00456a94ab4e1c46","B_":"032fd3c4dc49a2844a89998d5e9d5b0f0b00dde9310063acb8a92e2fdafa4126d4"},
		{"amount":1,"id":"00456a94ab4e1c46","B_":"033b6fde50b6a0dfe61ad148fff167ad9cf8308ded5f6f6b2fe000a036c464c311"},
		{"amount":1,"id":"00456a94ab4e1c46","B_":"02be5a55f03e5c0aaea77595d574bce92c6d57a2a0fb2b5955c0b87e4520e06b53"},
		{"amount":1,"id":"00456a94ab4e1c46","B_":"02209fc2873f28521cbdde7f7b3bb1521002463f5979686fd156f23fe6a8aa2b79"}],
		"signature":"`+signature+`"}`), &r)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAQuoteLockedToAKeyOpensWithItsSignatureOnly(t *testing.T) {
	key := mustPoint(t, quoteKey)
	good := quoteRequest(t, "d4b386f21f7aa7172f0994ee6e4dd966539484247ea71c99b81b8e09b1bb2acbc0026a43c221fd773471dc30d6a32b04692e6837ddaccf0830a63128308e4ee0")
	if err := good.VerifySignature(key); err != nil {
		t.Errorf("the valid one: %v", err)
	}
	bad := quoteRequest(t, "cb2b8e7ea69362dfe2a07093f2bbc319226db33db2ef686c940b5ec976bcbfc78df0cd35b3e998adf437b09ee2c950bd66dfe9eb64abd706e43ebc7c669c36c3")
	err := bad.VerifySignature(key)
	if !errors.Is(err, &Error{Code: CodeQuoteSignature}) {
		t.Errorf("the invalid one: %v", err)
	}
	good.Outputs[0], good.Outputs[1] = good.Outputs[1], good.Outputs[0]
	if good.VerifySignature(key) == nil {
		t.Error("it holds for outputs in another order")
	}
	for _, text := range []string{"", "zz", "00"} {
		if quoteRequest(t, text).VerifySignature(key) == nil {
			t.Errorf("signature %q passes", text)
		}
	}
}

func TestTheMessageOfAQuoteIsTheKnownOne(t *testing.T) {
	r := quoteRequest(t, "")
	text := r.Quote
	for _, o := range r.Outputs {
		text += o.B_.String()
	}
	if !strings.HasPrefix(text, "9d745270-1405-46de-b5c5-e2762b4f5e000342e5bc") || len(text) != 36+5*66 {
		t.Errorf("message %s", text)
	}
}

func TestASignedQuoteVerifies(t *testing.T) {
	private := mustScalar(t, "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f")
	public, err := private.Public()
	if err != nil {
		t.Fatal(err)
	}
	r := quoteRequest(t, "")
	if err := r.Sign(private); err != nil {
		t.Fatal(err)
	}
	if err := r.VerifySignature(public); err != nil {
		t.Error(err)
	}
	if r.Sign(Scalar{}) == nil {
		t.Error("zero signs")
	}
}

// The secrets are those of the protocol's vectors for conditions.
func TestConditionsAreTold(t *testing.T) {
	for _, secret := range []string{
		`["P2PK",{"nonce":"859d4935c4907062a6297cf4e663e2835d90d97ecdd510745d32f6816323a41f","data":"0249098aa8b9d2fbec49ff8598feb17b592b986e62319a4fa488a3dc36387157a7","tags":[["sigflag","SIG_INPUTS"]]}]`,
		`["HTLC",{"nonce":"d730dd70cd7ec6e687829857de8e70aab2b970712f4dbe288343eca20e63c28c","data":"ec4916dd28fc4c10d78e287ca5d9cc51ee1ae73cbfde08c6b37324cbfaac8bc5","tags":[["pubkeys","0350cda8a1d5257dbd6ba8401a9a27384b9ab699e636e986101172167799469b14"],["sigflag","SIG_ALL"]]}]`,
		`["P2PK",{"nonce":"d4a17a88f5d0c09001f7b453c42c1f9d5a87363b1f6637a5a83fc31a6a3b7266","data":"03b7c03eb05a0a539cfc438e81bcf38b65b7bb8685e8790f9b853bfe3d77ad5315","tags":[]}]`,
		` [ "NEW KIND" , {} ] `,
	} {
		if !IsCondition(secret) {
			t.Errorf("%s passes as a plain secret", secret)
		}
	}
	for _, secret := range []string{"", "407915bc212be61a77e3e6d2aeb4c727980bda51cd06a6afc29e2861768a7837",
		`["P2PK"]`, `["P2PK","x"]`, `[1,{}]`, `{"a":1}`, `["P2PK",{}`, `["P2PK",null]`} {
		if IsCondition(secret) {
			t.Errorf("%s is taken for a condition", secret)
		}
	}
}

func TestRefusalsAreToldApartByCode(t *testing.T) {
	err := Refuse(CodeSpent, "coin %d was spent", 3)
	if err.Error() != "coin 3 was spent (11001)" {
		t.Error(err)
	}
	if !errors.Is(err, &Error{Code: CodeSpent}) || errors.Is(err, &Error{Code: CodeUnbalanced}) || errors.Is(err, errPoint) {
		t.Error("codes are not told apart")
	}
	out, _ := json.Marshal(err)
	if string(out) != `{"code":11001,"detail":"coin 3 was spent"}` {
		t.Errorf("as JSON: %s", out)
	}
}
