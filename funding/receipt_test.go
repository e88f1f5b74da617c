package funding

import (
	"slices"
	"strings"
	"testing"
)

func TestReceiptOfASharedPot(t *testing.T) {
	b := Bill{Submit: 2, Usage: 70}.Drawn([]Draw{{3, 50}}).Drawn([]Draw{{1, 12}, {3, 10}}).Drawn(nil)
	if want := []Draw{{1, 12}, {3, 60}}; !slices.Equal(b.Draws, want) {
		t.Fatalf("draws %v; want %v", b.Draws, want)
	}
	r := SharedReceipt(12, b)
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	if r.Deposited != 72 || r.Refunded != 0 || len(r.Lines) != 2 || len(r.Deposits) != 2 {
		t.Errorf("%+v", r)
	}
}

func TestDrawnLeavesTheBillBeforeIt(t *testing.T) {
	before := Bill{}.Drawn([]Draw{{1, 5}})
	_ = before.Drawn([]Draw{{1, 5}})
	if before.Draws[0].Amount != 5 {
		t.Errorf("the bill before changed: %v", before.Draws)
	}
}

func TestReceiptOfNothing(t *testing.T) {
	r := SharedReceipt(1, Bill{})
	if err := r.Check(); err != nil || len(r.Lines) != 1 || r.Lines[0] != (Line{LineUsage, 0}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestLinesOfABill(t *testing.T) {
	b := Bill{Submit: 1, Usage: 2, Minimum: 3, Rounding: 4, Overrun: 50}
	want := []Line{{LineSubmit, 1}, {LineUsage, 2}, {LineMinimum, 3}, {LineRounding, 4}}
	if !slices.Equal(b.Lines(), want) || b.Charged() != 10 {
		t.Errorf("%v, %d", b.Lines(), b.Charged())
	}
	parts := []Part{PartOf("CPU", 1, 1, 1), PartOf("memory", 1, 1, 1), PartOf("disk", 1, 1, 1000)}
	if got, want := b.Lines(parts...), []Line{{LineSubmit, 1}, {"disk", 2}, {LineMinimum, 3}, {LineRounding, 4}}; !slices.Equal(got, want) {
		t.Errorf("by parts: %v", got)
	}
}

// A checker that never complains checks nothing: each of these receipts has one thing wrong.
func TestReceiptCheckBites(t *testing.T) {
	good := func() Receipt {
		return Receipt{Deposited: 100, Charged: 60, Refunded: 40, Lines: []Line{{LineUsage, 60}},
			Deposits: []DepositLine{{1, 70, 60, 10, 0}, {2, 30, 0, 30, 0}}}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Receipt){
		"deposited 101 is not":        func(r *Receipt) { r.Deposited++ },
		"deposit 2 of 30 is not":      func(r *Receipt) { r.Deposits[1].Refunded-- },
		"its lines are 59":            func(r *Receipt) { r.Lines[0].Amount-- },
		"its deposits are 70, 60 and": func(r *Receipt) { r.Deposits = r.Deposits[:1] },
	} {
		r := good()
		spoil(&r)
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
