package api

import (
	"context"
	"net/http"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
)

// decided tries what a request asks for on the state as it is here. A refusal that another state might not give counts
// only if the state with all that was acknowledged anywhere gives it too: a server that is behind, as each one is that
// has just started, must not refuse what another has taken. Who is refused takes the money for free again.
func decided[T any](ctx context.Context, a *API, v *machine.View, try func(v *machine.View) (T, error)) (T, *machine.View, error) {
	answer, err := try(v)
	if err == nil || !a.hangsOnState(err) {
		return answer, v, err
	}
	now, behind := a.linear(ctx)
	if behind != nil {
		return answer, v, behind
	}
	if now.Index() == v.Index() {
		return answer, v, err
	}
	answer, err = try(now)
	return answer, now, err
}

// hangsOnState says whether a refusal is of what the state says, and not of what the request itself says.
func (a *API) hangsOnState(err error) bool {
	p := a.problemOf(a.termsProblem(err))
	switch p.Status {
	case http.StatusPaymentRequired:
		return p.Code != client.CodePaymentRequired // it came without money, wherever it came to
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict:
		return true
	case http.StatusUnprocessableEntity:
		switch machine.Code(p.Code) {
		case machine.CodeKeysetUnknown, machine.CodeKeysetInactive, machine.CodePoolFloor, machine.CodeTooBig, machine.CodeDriverRefused, machine.CodeGPUKind:
			return true
		}
	}
	return false
}
