package mint

import (
	"github.com/coinop/coinop/funding/cashu"
)

// Limits bound a request. All are read from one place, so that an answer can
// name the bound it enforces.
type Limits struct {
	Inputs      int
	Outputs     int
	Blanks      int
	SecretBytes int
}

// DefaultLimits are generous to wallets and small to a server.
func DefaultLimits() Limits {
	return Limits{Inputs: 256, Outputs: 128, Blanks: 64, SecretBytes: 128}
}

// View is what a check reads of the replicated state.
type View interface {
	// KeysetByID finds a keyset by its name.
	KeysetByID(id cashu.KeysetID) (Keyset, bool)
	// KeysetByNumber finds a keyset by the number records hold.
	KeysetByNumber(number KeysetNumber) (Keyset, bool)
	// IsSpent reports whether a coin was spent.
	IsSpent(key cashu.SpentKey) bool
	// OutputAt is the record of a blinded output; the zero record is a free one.
	OutputAt(point cashu.Point) Output
}

// Request is a payment or a swap as it came in. Outputs are signed at once and
// must be worth exactly inputs − fee − pay; blanks get what comes back later.
type Request struct {
	Inputs  []cashu.Proof
	Pay     cashu.Units
	Outputs []cashu.BlindedMessage
	Blanks  []cashu.BlindedMessage
	// Unit is the cluster's unit of account.
	Unit string
	// NeedBlanks is how many blanks there must be at least: BlanksNeeded of what
	// can come back, or none where the payment has another way back.
	NeedBlanks int
}

// Input is a coin as the log and the state know it: genuine, without its secret.
type Input struct {
	Key    cashu.SpentKey `cbor:"1,keyasint"`
	Keyset KeysetNumber   `cbor:"2,keyasint"`
	Power  uint8          `cbor:"3,keyasint,omitempty"`
}

// Amount is what the coin was worth.
func (i Input) Amount() cashu.Units { return 1 << i.Power }

// Allowed is a blinded output with the amount that is to be signed; in a blank
// the power means nothing.
type Allowed struct {
	B_     cashu.Point  `cbor:"1,keyasint"` //nolint:revive // the protocol's own name
	Keyset KeysetNumber `cbor:"2,keyasint"`
	Power  uint8        `cbor:"3,keyasint,omitempty"`
}

// Amount is what the output is to be worth.
func (a Allowed) Amount() cashu.Units { return 1 << a.Power }

// Admitted is a request that was found good, in the form that a log entry
// carries. Its coins' signatures were checked and need no second look; all
// else is checked again by [Admitted.Recheck] where the entry is applied.
type Admitted struct {
	Inputs     []Input     `cbor:"1,keyasint,omitempty"`
	Pay        cashu.Units `cbor:"2,keyasint,omitempty"`
	Fee        cashu.Units `cbor:"3,keyasint,omitempty"`
	Outputs    []Allowed   `cbor:"4,keyasint,omitempty"`
	Blanks     []Allowed   `cbor:"5,keyasint,omitempty"`
	NeedBlanks int         `cbor:"6,keyasint,omitempty"`
}
