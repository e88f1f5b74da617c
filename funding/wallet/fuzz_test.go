package wallet

import (
	"bytes"
	"testing"
)

func FuzzRefusal(f *testing.F) {
	f.Add(400, []byte(`{"code":11001,"detail":"spent"}`))
	f.Add(502, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		err := refusal(status, body)
		if err == nil || (IsRefusal(err) && (status < 400 || status > 499)) {
			t.Fatalf("%d %q: %v", status, body, err)
		}
	})
}

func FuzzUnpackKeys(f *testing.F) {
	f.Add(bytes.Repeat([]byte{2}, packedKey))
	f.Fuzz(func(t *testing.T, packed []byte) {
		keys, err := unpackKeys(packed)
		if err == nil && !bytes.Equal(packKeys(keys), packed) {
			t.Fatal("what was read is written otherwise")
		}
	})
}
