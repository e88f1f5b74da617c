package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/coinop/coinop/api/client"
)

func TestAFailedCheckNamesWhatWasExpected(t *testing.T) {
	var out bytes.Buffer
	c := checks{screen: &screen{out: &out}}
	equal(&c, "jobs there are in all", 2, 2)
	if c.err() != nil || c.passed != 1 {
		t.Fatalf("a check that holds: %v, %d passed", c.err(), c.passed)
	}
	equal(&c, "jobs there are in all", 3, 2)
	c.that(false, "the sender died before it heard an answer")
	if c.passed != 1 || c.err() == nil || !strings.Contains(c.err().Error(), "jobs there are in all: 2, but it is 3") {
		t.Errorf("%d passed, error %v", c.passed, c.err())
	}
	if !strings.Contains(out.String(), "expected: the sender died") {
		t.Errorf("the screen does not tell what was expected:\n%s", &out)
	}
}

func goodReceipt() client.Receipt {
	return client.Receipt{
		Job: 1, DepositedMicro: 10, ChargedMicro: 4, RefundedMicro: 6,
		Lines:    []client.ReceiptLine{{What: "CPU", AmountMicro: 3}, {What: "less than one coin", AmountMicro: 1}},
		Deposits: []client.ReceiptDeposit{{Deposit: 1, DepositedMicro: 8, ChargedMicro: 4, RefundedMicro: 4}, {Deposit: 2, DepositedMicro: 2, RefundedMicro: 2}},
	}
}

func TestReceiptsThatDoNotAddUpAreFound(t *testing.T) {
	if err := wrongWith(goodReceipt()); err != nil {
		t.Fatalf("a good receipt: %v", err)
	}
	for name, spoil := range map[string]func(*client.Receipt){
		"total":           func(r *client.Receipt) { r.RefundedMicro++ },
		"lines":           func(r *client.Receipt) { r.Lines[0].AmountMicro++ },
		"a deposit":       func(r *client.Receipt) { r.Deposits[0].RefundedMicro++ },
		"a lost deposit":  func(r *client.Receipt) { r.Deposits = r.Deposits[:1] },
		"a moved deposit": func(r *client.Receipt) { r.Deposits[0].ChargedMicro++; r.Deposits[0].RefundedMicro-- },
	} {
		r := goodReceipt()
		spoil(&r)
		if wrongWith(r) == nil {
			t.Errorf("%s spoilt, and not found", name)
		}
	}
}

func TestThePictureShowsEveryLine(t *testing.T) {
	var b bytes.Buffer
	long := strings.Repeat("0123456789", 30)
	if err := svg(&b, []line{{command, `$ sh -c 'a < b && c > "d"'`}, {plain, long}, {plain, ""}, {passed, "✓ it holds"}}); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
		if chars, ok := token.(xml.CharData); ok {
			text.WriteString(strings.Trim(string(chars), "\n"))
		}
	}
	for _, want := range []string{`$ sh -c 'a < b && c > "d"'`, long, "✓ it holds"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
}

func TestWordsAreFoundInTheirOrder(t *testing.T) {
	lines := []string{"job 1 running", "job 1 paused", "job 1 done"}
	if !inOrder(lines, "running", "paused", "done") || inOrder(lines, "paused", "running") || inOrder(lines, "topped up") {
		t.Error("the order is not what it says")
	}
}
