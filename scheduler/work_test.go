package scheduler

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fullWork() Work {
	return Work{
		Name: "render", Argv: []string{"sh", "-c", "true"}, Env: []string{"A=1", "B=2"}, Outputs: []string{"out/*.png"},
		Inputs: []Input{{To: "render.sh", Digest: [32]byte{1, 2, 3}, Size: 12, Mode: 0o755}}, Labels: map[string]string{"b": "2", "a": "1", "c": "3"},
		Script: []byte("#!/bin/sh\n"),
	}
}

func TestWorkComesBackAsItWent(t *testing.T) {
	for _, w := range []Work{fullWork(), {Argv: []string{"true"}}} {
		spec, err := w.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeWork(spec)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(w, got); d != "" {
			t.Fatal(d)
		}
		for range 20 { // maps do not show
			again, err := w.Encode()
			if err != nil || !bytes.Equal(spec, again) {
				t.Fatal("encoded otherwise", err)
			}
		}
	}
}

func TestWorkThatIsNotOursIsRefused(t *testing.T) {
	for name, spec := range map[string]string{
		"nothing":           "",
		"not a map":         "01",
		"an unknown field":  "a2028161610901",
		"a field twice":     "a20281616102816162",
		"bytes left over":   "a10281616100",
		"without an end":    "bf02816161ff",
		"a tag":             "c0a102816161",
		"the wrong type":    "a10201",
		"cut short":         "a10281",
		"a huge array":      "a1029a7fffffff",
		"too deeply nested": "a1028181818181818160",
	} {
		b, err := hex.DecodeString(spec)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := DecodeWork(b); err == nil {
			t.Errorf("%s is read as %+v", name, w)
		}
	}
	if _, err := DecodeWork([]byte{0xa1, 0x02, 0x81, 0x61, 0x61}); err != nil {
		t.Error("the plain one is refused: ", err)
	}
	var limit *LimitError
	if _, err := DecodeWork(make([]byte, SpecMax+1)); !errors.As(err, &limit) {
		t.Error("a spec over its limit: ", err)
	}
}

// FuzzDecodeWork: what is read can be written and read again.
func FuzzDecodeWork(f *testing.F) {
	spec, err := fullWork().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(spec)
	f.Fuzz(func(t *testing.T, spec []byte) {
		w, err := DecodeWork(spec)
		if err != nil {
			return
		}
		_ = w.Validate()
		again, err := w.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeWork(again)
		if err != nil && len(again) <= SpecMax {
			t.Fatal(err)
		}
		third, err := back.Encode()
		if err != nil || len(again) <= SpecMax && !bytes.Equal(again, third) {
			t.Fatal("not stable", err)
		}
	})
}
