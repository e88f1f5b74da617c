package cashu

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

func FuzzDecodeToken(f *testing.F) {
	for _, seed := range []string{tokenVector0, tokenVector1, tokenVector4, tokenVector5, "cashuB", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := DecodeToken(text)
		if err != nil {
			return
		}
		for _, encode := range []func(Token) (string, error){EncodeToken, EncodeTokenV3} {
			again, err := encode(token)
			if err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			if _, err := DecodeToken(again); err != nil {
				t.Fatalf("what was written cannot be read: %v", err)
			}
		}
	})
}

func FuzzDecodeTokenRaw(f *testing.F) {
	f.Add(unhex(f, tokenVectorRaw))
	f.Fuzz(func(t *testing.T, raw []byte) {
		token, err := DecodeTokenRaw(raw)
		if err == nil && len(token.Proofs) == 0 {
			t.Fatal("a token without coins was read")
		}
	})
}

func FuzzDecodePaymentRequest(f *testing.F) {
	for _, seed := range []string{requestVector0, requestVector1, requestVector4, requestVector5} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		request, err := DecodePaymentRequest(text)
		if err != nil {
			return
		}
		if _, err := request.Encode(); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}

func FuzzParsePoint(f *testing.F) {
	f.Add("024cce997d3b518f739663b757deaec95bcd9473c30a14ac2fd04023a739d1a725")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePoint(text)
		if err == nil && (!p.OnCurve() || p.IsZero()) {
			t.Fatalf("%s is not on the curve", text)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte(keysJSON(smallKeys)))
	f.Add([]byte(`{"1":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var keys Keys
		if json.Unmarshal(data, &keys) != nil || keys == nil {
			return
		}
		out, err := json.Marshal(keys)
		if err != nil {
			t.Fatal(err)
		}
		var again Keys
		if err := json.Unmarshal(out, &again); err != nil || !reflect.DeepEqual(keys, again) {
			t.Fatalf("%s does not come back: %v", out, err)
		}
	})
}

// Every message of the protocol is read without a panic and, once read, can be
// written and read again.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(`{"inputs":[{"amount":2,"id":"009a1f293253e41e","secret":"x","C":"02bc9097997d81afb2cc7346b5e4345a9346bd2a506eb7958598a72f0cf85163ea"}],"outputs":[]}`))
	f.Add([]byte(`{"quote":"q","outputs":[{"amount":1,"id":"00456a94ab4e1c46","B_":"0342e5bcc77f5b2a3c2afb40bb591a1e27da83cddc968abdc0ec4904201a201834"}],"signature":"00"}`))
	f.Add([]byte(`{"keysets":[{"id":"00456a94ab4e1c46","unit":"sat","active":true,"keys":{"1":"03a40f20667ed53513075dc51e715ff2046cad64eb68960632269ba7f0210e38bc"}}]}`))
	f.Add([]byte(`{"nuts":{"4":{"methods":[{"method":"bolt11","unit":"sat"}],"disabled":false}}}`))
	f.Add([]byte(`{"states":[{"Y":"024cce997d3b518f739663b757deaec95bcd9473c30a14ac2fd04023a739d1a725","state":"SPENT"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, into := range []any{new(SwapRequest), new(MintRequest), new(MintQuoteRequest), new(MintQuote), new(KeysetsResponse),
			new(KeysResponse), new(CheckStateRequest), new(CheckStateResponse), new(RestoreRequest), new(RestoreResponse),
			new(SignaturesResponse), new(Info), new(Error)} {
			if DecodeJSON(data, into) != nil {
				continue
			}
			if bytes.ContainsAny(data, "\x00") {
				continue
			}
			if _, err := json.Marshal(into); err != nil {
				t.Fatalf("%T was read and cannot be written: %v", into, err)
			}
		}
	})
}
