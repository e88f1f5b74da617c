package client

import (
	"time"

	"github.com/coinop/coinop/funding/cashu"
)

// Quote is what a job would cost now. It creates nothing, costs nothing and promises nothing.
type Quote struct {
	Pool         string    `json:"pool"`
	Mode         string    `json:"mode"`
	WeightMilli  int64     `json:"weight_milli" doc:"billing units of one task, in thousandths"`
	PriceMicro   int64     `json:"price_micro" doc:"now, per billing unit and second"`
	FloorMicro   int64     `json:"floor_micro"`
	BidMicro     int64     `json:"bid_micro"`
	TimeMs       int64     `json:"time_ms"`
	HoldMicro    int64     `json:"hold_micro" doc:"what must be there before it is queued, for all tasks"`
	PayUnits     int64     `json:"pay_units" doc:"the hold as whole coins: pay this"`
	FeeMicro     int64     `json:"fee_micro,omitempty" doc:"the pool's submit fee, within the hold"`
	CostNowMicro int64     `json:"cost_now_micro" doc:"what it would cost at today's price, to its time limit"`
	Fits         bool      `json:"fits" doc:"a node of this pool could run it"`
	StartsNow    bool      `json:"starts_now" doc:"there is room for it at this bid"`
	Ahead        int64     `json:"ahead" doc:"waiting tasks that would start before it"`
	Ladder       []Rung    `json:"ladder,omitempty" doc:"what a higher bid would change"`
	At           time.Time `json:"at"`

	GPUs  string       `json:"gpus,omitempty" doc:"what is asked for, for people"`
	Parts []WeightPart `json:"parts,omitempty" doc:"of what the weight is made"`
}

// WeightPart is one resource's part of a weight.
type WeightPart struct {
	What        string `json:"what"`
	WeightMilli int64  `json:"weight_milli"`
}

// Rung is one step of a quote's ladder.
type Rung struct {
	BidMicro  int64 `json:"bid_micro"`
	HoldMicro int64 `json:"hold_micro"`
	Ahead     int64 `json:"ahead"`
}

// QuoteRequest is POST /v1/quotes.
type QuoteRequest struct {
	Job JobSpec `json:"job"`
	Pay int64   `json:"pay,omitempty"`
}

// PotRequest is POST /v1/pots: a pot for many jobs, with or without a first deposit.
type PotRequest struct {
	Keys Keys `json:"keys"`
	Payment
	CapOthersMicro *int64 `json:"cap_others_micro,omitempty" doc:"the most that others may add; none: no limit"`
}

// Pot is money for one job or for many.
type Pot struct {
	FundID         string    `json:"fund_id"`
	State          string    `json:"state" enum:"open,closing,closed"`
	DepositedMicro int64     `json:"deposited_micro"`
	FreeMicro      int64     `json:"free_micro"`
	HeldMicro      int64     `json:"held_micro"`
	ChargedMicro   int64     `json:"charged_micro"`
	RefundedMicro  int64     `json:"refunded_micro"`
	CapOthersMicro *int64    `json:"cap_others_micro,omitempty"`
	Jobs           int64     `json:"jobs" doc:"jobs that use it and have not ended"`
	Deposits       []Deposit `json:"deposits,omitempty"`
}

// Deposit is one payment into a pot.
type Deposit struct {
	Deposit        int64     `json:"deposit" doc:"numbered from 1 in each pot"`
	At             time.Time `json:"at"`
	Own            bool      `json:"own" doc:"made with the pot's own keys"`
	Back           string    `json:"back" enum:"blanks,claim,donate"`
	DepositedMicro int64     `json:"deposited_micro"`
	ChargedMicro   int64     `json:"charged_micro"`
	RefundedMicro  int64     `json:"refunded_micro"`
}

// PotAnswer is the answer to pots and deposits.
type PotAnswer struct {
	FundID     string                 `json:"fund_id"`
	Deposit    int64                  `json:"deposit,omitempty" doc:"the number of this deposit"`
	Signatures []cashu.BlindSignature `json:"signatures,omitempty"`
}

// DepositRequest is POST /v1/funds/{fund_id}/deposits: anyone who knows the fund id may. What is not used
// comes back by blanks, or to the holder of the claim key, or is donated.
type DepositRequest struct {
	Payment
	Claim  string `json:"claim,omitempty" doc:"SHA-256 of a claim key, hex"`
	Donate bool   `json:"donate,omitempty" doc:"nothing comes back to the giver; what is left goes to the pot's owner"`
}

// Change is GET /v1/jobs/{job}/change and /v1/pots/{fund_id}/change: signatures for the blanks of the
// payments that the key made.
type Change struct {
	State         string                 `json:"state" enum:"pending,settled" doc:"pending until the job has ended"`
	RefundedMicro int64                  `json:"refunded_micro"`
	Outputs       []cashu.BlindedMessage `json:"outputs,omitempty" doc:"which blanks were used, with their amounts"`
	Signatures    []cashu.BlindSignature `json:"signatures,omitempty" doc:"in the same order"`
	Claims        []Refund               `json:"claims,omitempty" doc:"what waits to be claimed with the claim key"`
}

// Refund is a claimable balance.
type Refund struct {
	Refund       uint64     `json:"refund"`
	FundID       string     `json:"fund_id,omitempty"`
	AmountMicro  int64      `json:"amount_micro"`
	AmountUnits  int64      `json:"amount_units" doc:"what can be taken as coins"`
	State        string     `json:"state" enum:"claimable,claimed,expired"`
	ClaimedUnits int64      `json:"claimed_units,omitempty"`
	Expires      *time.Time `json:"expires,omitempty"`
}

// RefundList is GET /v1/refunds: what the bearer's claim key may take.
type RefundList struct {
	Refunds []Refund `json:"refunds"`
}

// ClaimRequest is POST /v1/refunds/{refund}: outputs worth exactly what is taken.
type ClaimRequest struct {
	Outputs []cashu.BlindedMessage `json:"outputs"`
}

// Signatures answers a claim.
type Signatures struct {
	Signatures []cashu.BlindSignature `json:"signatures"`
}

// Receipt is GET /v1/jobs/{job}/receipt and what `receipt --json` prints: charged is the sum of its lines,
// and deposited = charged + refunded; for a job paid from a shared pot, deposited is what it drew.
type Receipt struct {
	Job            uint64           `json:"job"`
	State          string           `json:"state"`
	Reason         string           `json:"reason,omitempty"`
	ExitCode       *int32           `json:"exit_code,omitempty"`
	Final          bool             `json:"final" doc:"the job has ended and its money is settled"`
	DepositedMicro int64            `json:"deposited_micro"`
	ChargedMicro   int64            `json:"charged_micro"`
	RefundedMicro  int64            `json:"refunded_micro"`
	BilledMs       int64            `json:"billed_ms"`
	Deposits       []ReceiptDeposit `json:"deposits"`
	Lines          []ReceiptLine    `json:"lines"`
	Usage          Usage            `json:"usage"`
}

// ReceiptDeposit is one payment's part of a receipt.
type ReceiptDeposit struct {
	Deposit        int64 `json:"deposit"`
	DepositedMicro int64 `json:"deposited_micro"`
	ChargedMicro   int64 `json:"charged_micro"`
	RefundedMicro  int64 `json:"refunded_micro"`
}

// ReceiptLine is one thing that was charged.
type ReceiptLine struct {
	What        string `json:"what"`
	AmountMicro int64  `json:"amount_micro"`
}

// Usage is what a job used of the machines.
type Usage struct {
	CPUMs           int64 `json:"cpu_ms"`
	MemoryPeakBytes int64 `json:"memory_peak_bytes"`

	GPU *GPUUsage `json:"gpu,omitempty"`
}

// GPUUsage is what tasks used of GPUs. Energy is told and not charged.
type GPUUsage struct {
	Devices         []string `json:"devices"`
	EnergyJoules    *float64 `json:"energy_joules,omitempty" doc:"none: it was not measured"`
	EnergyBasis     string   `json:"energy_basis,omitempty"`
	Utilisation     *float64 `json:"utilisation,omitempty" doc:"mean, 1 is always busy; none: it was not measured"`
	MemoryPeakBytes int64    `json:"memory_peak_bytes"`
	MemoryBytes     int64    `json:"memory_bytes,omitempty" doc:"in use now; of a run that goes on"`
	Processes       int32    `json:"processes,omitempty" doc:"that use them now; of a run that goes on"`
	ProcessesPeak   int32    `json:"processes_peak,omitempty" doc:"the most of one run at once"`
}

// IssueRequest is POST /v1/operator/issue: a paid quote that only the holder of the key can turn into coins.
type IssueRequest struct {
	Units  int64       `json:"units"`
	Pubkey cashu.Point `json:"pubkey"`
	Memo   string      `json:"memo,omitempty"`
}
