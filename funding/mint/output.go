package mint

import (
	"fmt"

	"github.com/coinop/coinop/funding/cashu"
)

// OutputStatus says what may happen to a blinded output.
type OutputStatus uint8

const (
	// OutputFree outputs are unknown to the state, which does not store them.
	OutputFree OutputStatus = iota
	// OutputPending outputs are blanks that wait for a job's change.
	OutputPending
	// OutputSigned outputs may be signed for their amount, for ever the same.
	OutputSigned
)

func (s OutputStatus) String() string {
	switch s {
	case OutputFree:
		return "free"
	case OutputPending:
		return "pending"
	case OutputSigned:
		return "signed"
	}
	return fmt.Sprintf("unknown status %d", uint8(s))
}

// Output is the record of a blinded output, stored under its point B_. The zero
// value is a free output. Sixteen bytes: there are a dozen for each payment.
type Output struct {
	Job    uint64       `cbor:"1,keyasint,omitempty"` // the job, pot or deposit that a pending output waits for
	Keyset KeysetNumber `cbor:"2,keyasint"`
	Power  uint8        `cbor:"3,keyasint,omitempty"` // of a signed output: it is worth 2^Power
	Status OutputStatus `cbor:"4,keyasint"`
}

// Amount is what a signed output is worth, and zero for any other.
func (o Output) Amount() cashu.Units {
	if o.Status != OutputSigned {
		return 0
	}
	return 1 << o.Power
}

// Register makes a free output wait for a job.
func (o Output) Register(keyset KeysetNumber, job uint64) (Output, error) {
	if o.Status != OutputFree {
		return o, fmt.Errorf("register output: it is %s already", o.Status)
	}
	return Output{Job: job, Keyset: keyset, Status: OutputPending}, nil
}

// Release makes a pending output free again, because its job needs it no more.
// The record is then to be deleted.
func (o Output) Release(job uint64) (Output, error) {
	if o.Status != OutputPending || o.Job != job {
		return o, fmt.Errorf("release output: it is %s for %d, not pending for %d", o.Status, o.Job, job)
	}
	return Output{}, nil
}

// Allow lets a free output be signed for an amount.
func (o Output) Allow(keyset KeysetNumber, amount cashu.Units) (Output, error) {
	power, ok := amount.Power()
	if !ok {
		return o, fmt.Errorf("allow output: no coin is worth %d", amount)
	}
	if o.Status != OutputFree {
		return o, fmt.Errorf("allow output: it is %s already", o.Status)
	}
	return Output{Keyset: keyset, Power: power, Status: OutputSigned}, nil
}

// AllowPending lets a job's pending output be signed for an amount.
func (o Output) AllowPending(job uint64, amount cashu.Units) (Output, error) {
	power, ok := amount.Power()
	if !ok {
		return o, fmt.Errorf("allow output: no coin is worth %d", amount)
	}
	if o.Status != OutputPending || o.Job != job {
		return o, fmt.Errorf("allow output: it is %s for %d, not pending for %d", o.Status, o.Job, job)
	}
	return Output{Keyset: o.Keyset, Power: power, Status: OutputSigned}, nil
}

// BlanksMax is the largest number of blanks one payment ever needs.
const BlanksMax = cashu.BlanksMax

// PayMax is the most that one payment may bring.
const PayMax cashu.Units = 9_000_000_000

// BlanksNeeded is how many blanks hold whatever comes back of an amount.
func BlanksNeeded(amount cashu.Units) int { return cashu.BlanksFor(amount) }

// Assign spreads an amount over the first of a payment's blanks, the smallest
// coin first (as NUT-08 does). What remains are the blanks that stay empty.
func Assign(amount cashu.Units, blanks []cashu.Point) (assigned []Assigned, rest []cashu.Point, err error) {
	if need := cashu.SplitCount(amount); need > len(blanks) {
		return nil, nil, fmt.Errorf("assign %d units: %d blanks are needed, there are %d", amount, need, len(blanks))
	}
	coins := cashu.Split(amount)
	assigned = make([]Assigned, len(coins))
	for i, coin := range coins {
		assigned[i] = Assigned{B_: blanks[i], Amount: coin}
	}
	return assigned, blanks[len(coins):], nil
}

// Assigned is a blank with the amount it may be signed for.
type Assigned struct {
	B_     cashu.Point //nolint:revive // the protocol's own name
	Amount cashu.Units
}
