package mint

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/coinop/coinop/funding/cashu"
)

// Each line: the record, what is done to it, and what it is then.
func TestTheWayOfAnOutput(t *testing.T) {
	free := Output{}
	pending := Output{Keyset: 1, Job: 7, Status: OutputPending}
	signed := Output{Keyset: 1, Power: 3, Status: OutputSigned}
	for _, c := range []struct {
		name string
		from Output
		do   func(Output) (Output, error)
		want Output
		ok   bool
	}{
		{"register free", free, func(o Output) (Output, error) { return o.Register(1, 7) }, pending, true},
		{"register pending", pending, func(o Output) (Output, error) { return o.Register(1, 7) }, pending, false},
		{"register signed", signed, func(o Output) (Output, error) { return o.Register(1, 7) }, signed, false},
		{"allow free", free, func(o Output) (Output, error) { return o.Allow(1, 8) }, signed, true},
		{"allow free 3", free, func(o Output) (Output, error) { return o.Allow(1, 3) }, free, false},
		{"allow pending", pending, func(o Output) (Output, error) { return o.Allow(1, 8) }, pending, false},
		{"allow signed", signed, func(o Output) (Output, error) { return o.Allow(1, 8) }, signed, false},
		{"change pending", pending, func(o Output) (Output, error) { return o.AllowPending(7, 8) }, signed, true},
		{"change of another job", pending, func(o Output) (Output, error) { return o.AllowPending(8, 8) }, pending, false},
		{"change of 0", pending, func(o Output) (Output, error) { return o.AllowPending(7, 0) }, pending, false},
		{"change free", free, func(o Output) (Output, error) { return o.AllowPending(7, 8) }, free, false},
		{"change signed", signed, func(o Output) (Output, error) { return o.AllowPending(7, 8) }, signed, false},
		{"release pending", pending, func(o Output) (Output, error) { return o.Release(7) }, free, true},
		{"release another's", pending, func(o Output) (Output, error) { return o.Release(8) }, pending, false},
		{"release signed", signed, func(o Output) (Output, error) { return o.Release(0) }, signed, false},
	} {
		got, err := c.do(c.from)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %+v %v", c.name, got, err)
		}
	}
	if free.Amount() != 0 || pending.Amount() != 0 || signed.Amount() != 8 {
		t.Error("amounts")
	}
	if got := fmt.Sprint(OutputFree, OutputPending, OutputSigned); got != "free pending signed" {
		t.Error(got)
	}
}

func TestBlanksHoldWhateverComesBack(t *testing.T) {
	for amount, want := range map[cashu.Units]int{
		0: 0, 1: 1, 2: 2, 3: 2, 4: 3, 1000: 10, 1<<31 - 1: 31, 1 << 31: 32, 1<<32 - 1: 32, 1 << 32: 34, PayMax: 34,
	} {
		if got := BlanksNeeded(amount); got != want {
			t.Errorf("%d needs %d blanks, not %d", amount, want, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		paid := rapid.Uint64Range(0, uint64(PayMax)).Draw(t, "paid")
		back := rapid.Uint64Range(0, paid).Draw(t, "back")
		if need := cashu.SplitCount(cashu.Units(back)); need > BlanksNeeded(cashu.Units(paid)) {
			t.Fatalf("%d of %d needs %d blanks", back, paid, need)
		}
	})
	// The worst that can come back of the most that can be paid fills all 34.
	if got := cashu.SplitCount(1<<33 - 1); got != 34 {
		t.Errorf("2^33 - 1 takes %d coins", got)
	}
}

func TestChangeGoesOnTheFirstBlanksInOrder(t *testing.T) {
	blanks := make([]cashu.Point, 10)
	for i := range blanks {
		blanks[i] = cashu.HashToCurve([]byte{byte(i)})
	}
	assigned, rest, err := Assign(900, blanks)
	if err != nil || len(assigned) != 4 || len(rest) != 6 || rest[0] != blanks[4] {
		t.Fatalf("%v %v %v", assigned, rest, err)
	}
	for i, want := range []cashu.Units{4, 128, 256, 512} {
		if assigned[i] != (Assigned{B_: blanks[i], Amount: want}) {
			t.Errorf("blank %d: %+v", i, assigned[i])
		}
	}
	if none, rest, err := Assign(0, blanks); err != nil || len(none) != 0 || len(rest) != 10 {
		t.Errorf("nothing back: %v %v", none, err)
	}
	if _, _, err := Assign(7, blanks[:2]); err == nil {
		t.Error("three coins went on two blanks")
	}
}
