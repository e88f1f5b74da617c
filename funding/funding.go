// Package funding knows what money is: amounts, pots and the ledger that moves them.
package funding

import "fmt"

// UnitMicro is the number of micro-units in one whole unit, the smallest coin.
const UnitMicro Amount = 1_000_000

// The bounds of DESIGN.md section 4: sums inside them cannot overflow an int64.
const (
	IssueMax  = Amount(1<<42) * UnitMicro         // all coins outstanding
	PotMax    = Amount(9_000_000_000) * UnitMicro // one pot; exact as a JSON number
	RateMax   = Rate(1_000_000_000_000)           // a bid or a price
	WeightMax = Weight(1_000_000_000)             // a million billing units
	MillisMax = Millis(100 * 365 * 86_400_000)    // a century
)

// Amount is money in micro-units of the cluster's unit of account.
type Amount int64

// Rate is a price or a bid: micro-units per billing unit and second.
type Rate int64

// Weight is a size in thousandths of a billing unit.
type Weight int64

// Millis is cluster time, or a span of it, in milliseconds.
type Millis int64

// Index is the running integral of a pool's price over time, in micro-units × milliseconds
// per billing unit, as an unsigned 128-bit number.
type Index struct {
	Hi uint64 `cbor:"1,keyasint"`
	Lo uint64 `cbor:"2,keyasint"`
}

// PotID numbers a pot in the order of creation.
type PotID uint64

// FundID is the public name of a pot: it can only receive (DESIGN.md section 9).
type FundID [32]byte

// KeyHash is the SHA-256 of a control, view, spend or claim key.
type KeyHash [32]byte

// MarshalBinary is what the log's encoding calls; without them it would go byte by byte.
func (f FundID) MarshalBinary() ([]byte, error) { return f[:], nil }

// UnmarshalBinary reads 32 bytes.
func (f *FundID) UnmarshalBinary(b []byte) error { return fill((*[32]byte)(f), b) }

// MarshalBinary is the 32 bytes.
func (k KeyHash) MarshalBinary() ([]byte, error) { return k[:], nil }

// UnmarshalBinary reads 32 bytes.
func (k *KeyHash) UnmarshalBinary(b []byte) error { return fill((*[32]byte)(k), b) }

func fill(to *[32]byte, b []byte) error {
	if len(b) != len(to) {
		return fmt.Errorf("%d bytes instead of %d", len(b), len(to))
	}
	copy(to[:], b)
	return nil
}

// Mode says what a job's hold is.
type Mode uint8

// Safe holds the most a job can cost before it is queued; Stream holds ten minutes at a time.
const (
	Safe Mode = iota + 1
	Stream
)
