package cli

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/coinop/coinop/api/client"
)

// exitCode ends the command with a code of a job's, and says nothing more.
type exitCode int

func (exitCode) Error() string { return "exit" }

// usageError is a wrong command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// The exit codes of the help text.
const (
	exitError       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitKey         = 4
	exitMoney       = 5
	exitUnreachable = 6

	exitLimit = 124 // run and --wait: time or money ended
	exitFault = 125 // run and --wait: coinop's fault
)

// codeOf maps what went wrong to the exit code that scripts rely on.
func codeOf(err error) int {
	var (
		code        exitCode
		usage       usageError
		money       moneyError
		problem     *client.Problem
		unreachable *client.Unreachable
		unknown     *client.Unknown
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &money):
		return exitMoney
	case errors.As(err, &unreachable), errors.As(err, &unknown):
		return exitUnreachable
	case errors.As(err, &problem):
		return codeOfStatus(problem.Status)
	}
	return exitError
}

func codeOfStatus(status int) int {
	switch status {
	case http.StatusNotFound, http.StatusGone:
		return exitNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitKey
	case http.StatusPaymentRequired:
		return exitMoney
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return exitUnreachable
	}
	return exitError
}

// moneyError is a lack of money that was seen before any server was asked.
type moneyError struct{ error }

func (e moneyError) Unwrap() error { return e.error }

// explain is what a person reads: of servers that did not answer, each with its reason and without the way there.
func explain(err error) string {
	var unreachable *client.Unreachable
	if !errors.As(err, &unreachable) {
		return err.Error()
	}
	parts := make([]string, len(unreachable.Tried))
	for i, t := range unreachable.Tried {
		parts[i] = t.Server + ": " + rootCause(t.Err).Error()
	}
	tried := "no server answered, nothing was sent; tried " + strings.Join(parts, "; ")
	if strange := (*client.Distrust)(nil); errors.As(unreachable.Tried[0].Err, &strange) {
		return tried // it says what to do
	}
	return tried + " (start one with `coinop dev`, or name others: --server or COINOP_ADDR)"
}

// rootCause strips what a failed call says of its way: the address is named already.
func rootCause(err error) error {
	for {
		var (
			call *url.Error
			op   *net.OpError
			sys  *os.SyscallError
		)
		switch {
		case errors.As(err, &call):
			err = call.Err
		case errors.As(err, &op):
			err = op.Err
		case errors.As(err, &sys):
			err = sys.Err
		default:
			return err
		}
	}
}
