package funding

import (
	"fmt"
	"slices"
)

// What a charge is for, as receipts call it.
const (
	LineSubmit   = "submit fee"
	LineUsage    = "metered time"
	LineMinimum  = "one-second minimum"
	LineKept     = "kept while suspended"
	LineRounding = "less than one coin"
)

// Line is one line of a receipt.
type Line struct {
	What   string `cbor:"1,keyasint"`
	Amount Amount `cbor:"2,keyasint"`
}

// DepositLine says what became of one deposit.
type DepositLine struct {
	Deposit   DepositID `cbor:"1,keyasint"`
	Deposited Amount    `cbor:"2,keyasint"`
	Charged   Amount    `cbor:"3,keyasint"`
	Refunded  Amount    `cbor:"4,keyasint"`
	Held      Amount    `cbor:"5,keyasint,omitempty"` // not settled yet
}

// Receipt says where a job's money went. Once the job has ended it adds up: deposited = charged +
// refunded, for each deposit and in total, and charged is the sum of its lines.
type Receipt struct {
	Job       uint64        `cbor:"1,keyasint"`
	Deposited Amount        `cbor:"2,keyasint"`
	Charged   Amount        `cbor:"3,keyasint"`
	Refunded  Amount        `cbor:"4,keyasint"`
	Billed    Millis        `cbor:"5,keyasint"`
	Deposits  []DepositLine `cbor:"6,keyasint"`
	Lines     []Line        `cbor:"7,keyasint"`
	CPUMillis int64         `cbor:"8,keyasint"`
	PeakBytes int64         `cbor:"9,keyasint"`
	Final     bool          `cbor:"10,keyasint"` // the job has ended
}

// Bill collects what one job was charged, and which deposits bore it.
type Bill struct {
	Submit   Amount `cbor:"1,keyasint,omitempty"`
	Usage    Amount `cbor:"2,keyasint,omitempty"`
	Minimum  Amount `cbor:"3,keyasint,omitempty"` // of usage: what lifted short runs to one second, a line of its own
	Rounding Amount `cbor:"4,keyasint,omitempty"`
	Overrun  Amount `cbor:"5,keyasint,omitempty"` // the operator's; no line of the receipt
	Draws    []Draw `cbor:"6,keyasint,omitempty"` // ascending by deposit
	Kept     Amount `cbor:"7,keyasint,omitempty"` // for suspended tasks on disk
}

// Charged is the sum of the bill's lines.
func (b Bill) Charged() Amount { return b.Submit + b.Usage + b.Minimum + b.Kept + b.Rounding }

// Drawn adds to the bill what deposits bore.
func (b Bill) Drawn(draws []Draw) Bill {
	if len(draws) == 0 {
		return b
	}
	merged := slices.Clone(b.Draws)
	for _, draw := range draws {
		i, found := slices.BinarySearchFunc(merged, draw.Deposit, func(d Draw, id DepositID) int {
			return int(d.Deposit) - int(id)
		})
		if found {
			merged[i].Amount += draw.Amount
		} else {
			merged = slices.Insert(merged, i, draw)
		}
	}
	b.Draws = merged
	return b
}

// Lines are the bill's lines that are not zero, metered time by its parts where they are known; a bill of nothing has the
// line of its metered time.
func (b Bill) Lines(parts ...Part) []Line {
	usage := Split(b.Usage, parts)
	if usage == nil {
		usage = []Line{{LineUsage, b.Usage}}
	}
	all := slices.Concat([]Line{{LineSubmit, b.Submit}}, usage, []Line{{LineMinimum, b.Minimum}, {LineKept, b.Kept}, {LineRounding, b.Rounding}})
	lines := slices.DeleteFunc(all, func(l Line) bool { return l.Amount == 0 })
	if len(lines) == 0 {
		return []Line{{LineUsage, 0}}
	}
	return lines
}

// OwnReceipt is the receipt of a job with a pot of its own.
func OwnReceipt(job uint64, p Pot, b Bill, parts ...Part) Receipt {
	r := Receipt{Job: job, Lines: b.Lines(parts...), Final: p.State == PotClosed}
	r.Deposited, r.Charged, r.Refunded = p.Totals()
	for _, d := range p.Deposits {
		r.Deposits = append(r.Deposits, DepositLine{d.ID, d.Amount, d.Charged, d.Refunded, d.Left()})
	}
	return r
}

// SharedReceipt is the receipt of a job paid from a shared pot: deposited is what it drew.
func SharedReceipt(job uint64, b Bill, parts ...Part) Receipt {
	r := Receipt{Job: job, Lines: b.Lines(parts...), Deposited: b.Charged(), Charged: b.Charged()}
	for _, d := range b.Draws {
		r.Deposits = append(r.Deposits, DepositLine{Deposit: d.Deposit, Deposited: d.Amount, Charged: d.Amount})
	}
	return r
}

// Check says whether a final receipt adds up.
func (r Receipt) Check() error {
	if r.Deposited != r.Charged+r.Refunded {
		return fmt.Errorf("receipt of job %d: deposited %d is not charged %d plus refunded %d", r.Job, r.Deposited, r.Charged, r.Refunded)
	}
	var lines, deposited, charged, refunded Amount
	for _, l := range r.Lines {
		lines += l.Amount
	}
	for _, d := range r.Deposits {
		if d.Deposited != d.Charged+d.Refunded {
			return fmt.Errorf("receipt of job %d: deposit %d of %d is not charged %d plus refunded %d", r.Job, d.Deposit, d.Deposited, d.Charged, d.Refunded)
		}
		deposited, charged, refunded = deposited+d.Deposited, charged+d.Charged, refunded+d.Refunded
	}
	switch {
	case lines != r.Charged:
		return fmt.Errorf("receipt of job %d: its lines are %d, charged is %d", r.Job, lines, r.Charged)
	case deposited != r.Deposited || charged != r.Charged || refunded != r.Refunded:
		return fmt.Errorf("receipt of job %d: its deposits are %d, %d and %d, not %d, %d and %d", r.Job,
			deposited, charged, refunded, r.Deposited, r.Charged, r.Refunded)
	}
	return nil
}
