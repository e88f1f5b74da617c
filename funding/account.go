package funding

import "fmt"

// AccountKind is what an account is for.
type AccountKind uint8

// The chart of accounts. Assets and expenses are debited when they grow, the others credited.
const (
	AssetRail       AccountKind = iota + 1 // what a rail holds against the coins; ID is the rail
	LiabilityCoins                         // coins outstanding of a keyset; ID is its number
	LiabilityPot                           // what a pot holds, free and reserved; ID is the pot
	LiabilityRefund                        // claimable balances, together
	IncomeUsage                            // metered time; ID is the pool
	IncomeFees                             // input fees of coins
	IncomeSubmit                           // submit fees; ID is the pool
	IncomeRounding                         // what was less than one coin
	ExpenseOverrun                         // what a late stop cost and the operator bears; ID is the pool
)

// RailVoucher is the rail by which an operator issues coins against nothing but its word.
const RailVoucher = 1

// Account is one account of the ledger.
type Account struct {
	Kind AccountKind `cbor:"1,keyasint"`
	ID   uint64      `cbor:"2,keyasint,omitempty"`
}

// Less orders accounts.
func (a Account) Less(b Account) bool {
	if a.Kind != b.Kind {
		return a.Kind < b.Kind
	}
	return a.ID < b.ID
}

func (k AccountKind) String() string {
	names := [...]string{"", "asset:rail", "liability:coins", "liability:pot", "liability:refund",
		"income:usage", "income:fees", "income:submit", "income:rounding", "expense:overrun"}
	if k == 0 || int(k) >= len(names) {
		return fmt.Sprintf("account kind %d", uint8(k))
	}
	return names[k]
}

func (a Account) String() string {
	if a.ID == 0 {
		return a.Kind.String()
	}
	return fmt.Sprintf("%s:%d", a.Kind, a.ID)
}

// debited says that the account grows by debits.
func (k AccountKind) debited() bool { return k == AssetRail || k == ExpenseOverrun }

// Code says why money moved.
type Code uint8

// Codes of transfers. The list is appended to, never renumbered.
const (
	CodeIssue    Code = iota + 1 // rail asset → coins outstanding
	CodePayout                   // coins outstanding → rail asset
	CodePay                      // coins outstanding → pot
	CodeInputFee                 // coins outstanding → input fees
	CodeSwap                     // coins of one keyset → coins of another
	CodeUsage                    // pot → usage
	CodeSubmit                   // pot → submit fees
	CodeRounding                 // pot → rounding
	CodeOverrun                  // the operator's overrun → usage
	CodeRefund                   // pot → coins outstanding or a claimable balance
	CodeClaim                    // claimable balance → coins outstanding
	CodeLapse                    // claimable balance that nobody claimed → rounding
)

func (c Code) String() string {
	names := [...]string{"", "issue", "payout", "pay", "input fee", "swap", "usage", "submit fee", "rounding",
		"overrun", "refund", "claim", "lapse"}
	if c == 0 || int(c) >= len(names) {
		return fmt.Sprintf("code %d", uint8(c))
	}
	return names[c]
}

// Transfer moves money from one side to the other. It is never edited: a mistake is mended by another.
type Transfer struct {
	Debit  Account `cbor:"1,keyasint"`
	Credit Account `cbor:"2,keyasint"`
	Amount Amount  `cbor:"3,keyasint"`
	Code   Code    `cbor:"4,keyasint"`
}
