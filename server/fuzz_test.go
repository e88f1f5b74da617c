package server

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// FuzzRunStatus: whatever an executor reports, an end lies between the start and now, and its freezes between start and end,
// in order.
func FuzzRunStatus(f *testing.F) {
	ran, to := int64(500), int64(200)
	for _, s := range []*wire.RunStatus{
		{Run: 1, End: &wire.End{Cause: wire.Cause_CAUSE_EXITED}, RanMs: &ran, Frozen: []*wire.Span{{FromMs: 100, ToMs: &to}}},
		{Run: 1, End: &wire.End{Cause: wire.Cause_CAUSE_FAULT, Notes: []string{"a", "b"}}},
	} {
		b, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s wire.RunStatus
		if proto.Unmarshal(data, &s) != nil || s.GetEnd() == nil {
			return
		}
		const start, now = funding.Millis(10_000), funding.Millis(90_000)
		end := ended(&scheduler.Run{}, &s, start, true, now)
		if end.At > now {
			t.Fatalf("it ends at %d", end.At)
		}
		last := start
		for _, span := range end.Stopped {
			if span.From < last || span.To < span.From || span.To > now {
				t.Fatalf("freezes are %v, from %d to %d", end.Stopped, start, end.At)
			}
			last = span.To
		}
	})
}

// FuzzWords: words that are read are written so that they are read again.
func FuzzWords(f *testing.F) {
	words, err := mint.Words(mint.Secret{1, 2, 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(words)
	f.Add("epoch 1: " + words + "\nepoch 2: " + words)
	f.Add(`[{"epoch":1,"words":"` + words + `"}]`)
	f.Add("[]")
	f.Fuzz(func(t *testing.T, text string) {
		epochs, err := parseWords(text)
		if err != nil {
			return
		}
		var all string
		for _, e := range epochs {
			words, err := mint.Words(e.Secret)
			if err != nil {
				t.Fatal(err)
			}
			all += fmt.Sprintf("epoch %d: %s\n", e.Number, words)
		}
		again, err := parseWords(all)
		if err != nil || !cmp.Equal(epochs, again, cmp.Comparer(func(a, b mint.Epoch) bool { return a == b })) {
			t.Fatalf("%q came back as %v: %v", text, again, err)
		}
	})
}
