package cashu

import "fmt"

// Code is the protocol's number of an error.
type Code int

// The protocol's codes, and from 80001 those of our own rules.
const (
	CodeProofInvalid        Code = 10001
	CodeSpent               Code = 11001
	CodeProofsPending       Code = 11002
	CodeOutputsSigned       Code = 11003
	CodeOutputsPending      Code = 11004
	CodeUnbalanced          Code = 11005
	CodeAmountRange         Code = 11006
	CodeInputsTwice         Code = 11007
	CodeOutputsTwice        Code = 11008
	CodeUnitsMixed          Code = 11009
	CodeUnitsDiffer         Code = 11010
	CodeUnitUnsupported     Code = 11013
	CodeInputsMax           Code = 11014
	CodeOutputsMax          Code = 11015
	CodeKeysetUnknown       Code = 12001
	CodeKeysetInactive      Code = 12002
	CodeKeysetExpired       Code = 12003
	CodeQuoteUnpaid         Code = 20001
	CodeQuoteIssued         Code = 20002
	CodeMintingDisabled     Code = 20003
	CodeQuotePending        Code = 20005
	CodeQuoteSettled        Code = 20006
	CodeQuoteExpired        Code = 20007
	CodeQuoteSignature      Code = 20008
	CodeQuoteKeyMissing     Code = 20009
	CodeMalformed           Code = 80001
	CodeConditionRefused    Code = 80002
	CodeBlindingFactorKnown Code = 80003
	CodeBlanksTooFew        Code = 80004
	CodeBlanksInvalid       Code = 80005
	CodeSecretLength        Code = 80006
	CodeQuoteUnknown        Code = 80007
	CodeKeysMissing         Code = 80008
	CodeJobRefused          Code = 80009
)

// Error is a refusal as the protocol words it: a number and a sentence that
// says what was wrong and what to do.
type Error struct {
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
}

// Refuse makes a refusal.
func Refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Detail, e.Code) }

// Is holds two refusals for equal when their codes are, so that
// errors.Is(err, &cashu.Error{Code: cashu.CodeSpent}) asks for the kind.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}
