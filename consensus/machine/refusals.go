package machine

import (
	"errors"
	"fmt"
)

// Code says how an entry ended: [OK], or why it was refused. Codes are permanent: clients act on them.
type Code string

// Codes, in one list. The API maps each to an HTTP status and to what the user can do.
const (
	OK Code = "ok"

	// The entry itself.
	CodeFormat    Code = "format"    // not an entry, or of a kind that the state's format does not know
	CodePanic     Code = "panic"     // a bug: the entry was dropped on every replica alike
	CodeInternal  Code = "internal"  // a bug that was caught before it did harm
	CodeNotFirst  Code = "not_first" // Init came twice
	CodeNoCluster Code = "no_cluster"
	CodeStale     Code = "stale" // a leader's decision no longer holds
	CodeLimit     Code = "limit" // too much, too long, too many; the detail names the bound
	CodeInvalid   Code = "invalid"

	// Requests.
	CodeRequestConflict Code = "request_conflict" // the same idempotency key with another body
	CodeRequestOld      Code = "request_old"      // an idempotency key older than what is remembered

	// Coins.
	CodeCoinsSpent     Code = "coins_spent"
	CodeCoinsTwice     Code = "coins_twice"
	CodeOutputUsed     Code = "output_used"
	CodeOutputsTwice   Code = "outputs_twice"
	CodeKeysetUnknown  Code = "keyset_unknown"
	CodeKeysetInactive Code = "keyset_inactive"
	CodeKeysetStopped  Code = "keyset_stopped" // after a restore, until the operator reconciles
	CodeUnbalanced     Code = "unbalanced"
	CodeBlanksFew      Code = "blanks_few"
	CodeBlanksInvalid  Code = "blanks_invalid"
	CodeWayBack        Code = "way_back" // a payment without blanks, claim key or donation
	CodeIssueCap       Code = "issue_cap"
	CodeQuoteUnknown   Code = "quote_unknown"
	CodeQuoteUnpaid    Code = "quote_unpaid"
	CodeQuoteIssued    Code = "quote_issued"
	CodeQuoteExpired   Code = "quote_expired"

	// Money.
	CodeMoneyShort    Code = "money_short"
	CodePotUnknown    Code = "pot_unknown"
	CodePotClosed     Code = "pot_closed"
	CodePotFull       Code = "pot_full"
	CodeCapOthers     Code = "cap_others" // the owner's limit on what others can add
	CodeFundTaken     Code = "fund_taken"
	CodeRefundUnknown Code = "refund_unknown"
	CodeOverdrawn     Code = "overdrawn" // more coins than are outstanding: some were forged

	// Keys and tokens.
	CodeKeyWrong     Code = "key_wrong"
	CodeTokenUnknown Code = "token_unknown"
	CodeTokenUsed    Code = "token_used"
	CodeTokenExpired Code = "token_expired"
	CodeRole         Code = "role"

	// Jobs, pools, nodes, servers.
	CodePoolUnknown   Code = "pool_unknown"
	CodePoolFloor     Code = "bid_below_floor"
	CodeTooBig        Code = "too_big" // more than any node has
	CodeDriverRefused Code = "driver_refused"
	CodeGPUKind       Code = "gpu_kind" // the pool sells no such kind
	CodeJobUnknown    Code = "job_unknown"
	CodeJobEnded      Code = "job_ended"
	CodeJobOpen       Code = "job_open"
	CodeRunUnknown    Code = "run_unknown"
	CodeNodeUnknown   Code = "node_unknown"
	CodeNameTaken     Code = "name_taken"
	CodePriceAboveL   Code = "price_above_bids"
	CodeServerUnknown Code = "server_unknown"
)

// Refusal is an entry that changed nothing, with the reason.
type Refusal struct {
	Code   Code
	Detail string
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Detail }

// refuse makes a refusal. The detail is part of the answer: it says what was wrong, with the numbers.
func refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// refusalOf turns an error of Apply into a refusal. What is not a refusal is a bug that an
// assertion caught: it is refused like one, alike on every replica.
func refusalOf(err error) *Refusal {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	return refuse(CodeInternal, "%v", err)
}
