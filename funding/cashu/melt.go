package cashu

import "math/bits"

// MeltState says how far a payment out of coins has come.
type MeltState string

// The states of NUT-05.
const (
	MeltUnpaid  MeltState = "UNPAID"
	MeltPending MeltState = "PENDING"
	MeltPaid    MeltState = "PAID"
)

// MeltQuoteRequest is the body of POST /v1/melt/quote/{method}.
type MeltQuoteRequest struct {
	Request string `json:"request"`
	Unit    string `json:"unit"`
}

// MeltQuote answers it, POST /v1/melt/{method} and GET /v1/melt/quote/{method}/{quote}. Change is what came back,
// in the order of the blanks (NUT-08).
type MeltQuote struct {
	Quote      string           `json:"quote"`
	Request    string           `json:"request"`
	Amount     Units            `json:"amount"`
	FeeReserve Units            `json:"fee_reserve"`
	Unit       string           `json:"unit"`
	State      MeltState        `json:"state"`
	Expiry     int64            `json:"expiry"` // seconds since 1970
	Change     []BlindSignature `json:"change,omitempty"`
}

// MeltRequest is the body of POST /v1/melt/{method}. Outputs are blanks, whose amounts mean nothing.
type MeltRequest struct {
	Quote       string           `json:"quote"`
	Inputs      []Proof          `json:"inputs"`
	Outputs     []BlindedMessage `json:"outputs,omitempty"`
	PreferAsync bool             `json:"prefer_async,omitempty"`
}

// BlanksOfReserve is how many blanks a wallet makes for what it pays above a quote's amount, by NUT-08's count: the
// logarithm rounded up, and one at least. No part of the reserve is more coins than that; [BlanksFor], which counts
// bits, is one more where the reserve is a power of two.
func BlanksOfReserve(reserve Units) int {
	if reserve == 0 {
		return 0
	}
	return max(1, bits.Len64(uint64(reserve-1)))
}
