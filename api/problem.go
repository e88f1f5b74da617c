package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/blobs"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/scheduler"
)

// Codes of this interface's own; the machine's are in consensus/machine.
const (
	codeBody          = "body"
	codeNotFound      = "not_found"
	codeUpgrade       = "upgrade_required"
	codeMethod        = "method"
	codeTooLarge      = "too_large"
	codeBusy          = "busy"
	codeTooMany       = "too_many_requests"
	codeOrigin        = "origin"
	codeHost          = "host"
	codeTokenMissing  = "token_missing"
	codeKeyMissing    = "key_missing"
	codeBlobUnknown   = "blob_unknown"
	codeBlobDigest    = "blob_digest"
	codeNotHere       = "not_here"
	codeNoKeys        = "no_keys"
	codeRetention     = "retention_over"
	codeAmount        = "amount"
	codeCoinsForged   = "coins_forged"
	codeCoins         = "coins_refused"
	codeCoinCondition = "coins_condition"
	codeTerms         = "terms"
	codeReadOnly      = "read_only"
	codeNoRoom        = "no_room"
	codeIndexAhead    = client.CodeIndexAhead
	codeBug           = "bug"

	codePaymentInvalid = "payment_invalid" // in the header
	codeHeaderLarge    = "header_too_large"
)

// row says what a code is in HTTP, and what the user can do.
type row struct {
	status int
	do     string
}

// fail makes a problem of a code that has a row.
func fail(code string, format string, args ...any) *client.Problem {
	r, ok := table[code]
	if !ok {
		r = table[codeBug]
	}
	return &client.Problem{
		Status: r.status, Title: http.StatusText(r.status), Code: code, Detail: fmt.Sprintf(format, args...), Do: r.do,
	}
}

// problemOf makes a problem of any error. What it does not know is a bug or a fault of this server, whose text
// stays in the log.
func (a *API) problemOf(err error) *client.Problem {
	var problem *client.Problem
	var refusal *machine.Refusal
	var coins *cashu.Error
	var limit *scheduler.LimitError
	var field *scheduler.FieldError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &refusal):
		return fail(string(refusal.Code), "%s", refusal.Detail)
	case errors.As(err, &coins):
		return fail(coinCode(coins.Code), "%s", coins.Detail)
	case errors.As(err, &limit):
		p := fail(string(machine.CodeLimit), "%v", limit)
		p.Need = limit.Max
		return p
	case errors.As(err, &field):
		return fail(string(machine.CodeInvalid), "%v", field)
	case errors.As(err, &large):
		return fail(codeTooLarge, "the body is larger than %d bytes", large.Limit)
	case errors.Is(err, consensus.ErrNoLeader), errors.Is(err, consensus.ErrNotRunning):
		return fail(client.CodeNoLeader, "the servers have no leader at the moment; nothing was tried")
	case errors.Is(err, consensus.ErrReadOnly), errors.Is(err, consensus.ErrParted), errors.Is(err, consensus.ErrRemoved):
		return fail(codeReadOnly, "nothing was tried: %v", err)
	case errors.Is(err, consensus.ErrUnknown), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fail(client.CodeOutcomeUnknown, "no answer came in time from the servers; it may have taken effect or not")
	}
	if p := blobProblem(err); p != nil {
		return p
	}
	a.log.Error("request failed", "error", err)
	return fail(codeBug, "this server failed; its log says how")
}

func blobProblem(err error) *client.Problem {
	switch {
	case errors.Is(err, blobs.ErrMissing):
		return fail(codeBlobUnknown, "no server has these bytes")
	case errors.Is(err, blobs.ErrMismatch):
		return fail(codeBlobDigest, "the bytes are not what their SHA-256 says")
	case errors.Is(err, blobs.ErrTooBig):
		return fail(codeTooLarge, "%v", err)
	case errors.Is(err, blobs.ErrDiskFull), errors.Is(err, blobs.ErrMinority):
		return fail(codeNoRoom, "%v", err)
	}
	return nil
}

// coinCode is the name by which this interface calls an error of the mint.
func coinCode(code cashu.Code) string {
	switch code {
	case cashu.CodeProofInvalid:
		return codeCoinsForged
	case cashu.CodeSpent, cashu.CodeProofsPending:
		return string(machine.CodeCoinsSpent)
	case cashu.CodeInputsTwice:
		return string(machine.CodeCoinsTwice)
	case cashu.CodeOutputsSigned, cashu.CodeOutputsPending:
		return string(machine.CodeOutputUsed)
	case cashu.CodeOutputsTwice:
		return string(machine.CodeOutputsTwice)
	case cashu.CodeUnbalanced:
		return string(machine.CodeUnbalanced)
	case cashu.CodeKeysetUnknown:
		return string(machine.CodeKeysetUnknown)
	case cashu.CodeKeysetInactive, cashu.CodeKeysetExpired:
		return string(machine.CodeKeysetInactive)
	case cashu.CodeBlanksTooFew:
		return string(machine.CodeBlanksFew)
	case cashu.CodeBlanksInvalid:
		return string(machine.CodeBlanksInvalid)
	case cashu.CodeConditionRefused:
		return codeCoinCondition
	case cashu.CodeAmountRange:
		return codeAmount
	case cashu.CodeInputsMax, cashu.CodeOutputsMax:
		return string(machine.CodeLimit)
	case cashu.CodeQuoteUnpaid:
		return string(machine.CodeQuoteUnpaid)
	case cashu.CodeQuoteIssued:
		return string(machine.CodeQuoteIssued)
	case cashu.CodeQuoteUnknown:
		return string(machine.CodeQuoteUnknown)
	}
	return codeCoins
}
