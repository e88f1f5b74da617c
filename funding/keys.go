package funding

// Keys are the handles of a job or a pot as the server knows them: hashes, and the fund id, which
// is public (DESIGN.md section 9).
type Keys struct {
	Control KeyHash `cbor:"1,keyasint"` // changes and closes
	View    KeyHash `cbor:"2,keyasint"` // sees what is private
	Spend   KeyHash `cbor:"3,keyasint"` // submits jobs against the pot
	Claim   KeyHash `cbor:"4,keyasint"` // takes what is left
	Fund    FundID  `cbor:"5,keyasint"` // pays in
}

// Blank is a blinded output that waits for an amount: a compressed point.
type Blank [33]byte

// Way is how what is left of a deposit goes back.
type Way uint8

// The ways back.
const (
	ByBlanks Way = iota + 1 // as coins signed on blanks
	ByClaim                 // as a claimable balance for a key of the depositor's own
	Donated                 // not to the depositor: it stays the pot's, whose claim key takes what is left
)

// Policy says whose money in a pot is spent first.
type Policy uint8

// Policies of consumption. Only the first is taken yet; the others have their names already.
const (
	FirstIn   Policy = iota // the oldest deposit first
	ProRata                 // each in proportion to what is left of it
	Waterfall               // by priority: sponsors, donations, the owner
)

func (p Policy) String() string {
	switch p {
	case FirstIn:
		return "first-in"
	case ProRata:
		return "pro-rata"
	case Waterfall:
		return "waterfall"
	}
	return "unknown"
}
