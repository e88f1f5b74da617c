package client

import (
	"fmt"
	"strings"
)

// Problem is every error of the interface (RFC 9457): what was wrong, by a code that scripts can rely on, and what
// the user can do.
type Problem struct {
	Type   string  `json:"type,omitempty"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Code   string  `json:"code" doc:"never changes its meaning"`
	Detail string  `json:"detail" doc:"what was wrong"`
	Do     string  `json:"do" doc:"what you can do"`
	Need   int64   `json:"need,omitempty" doc:"the number that would have done: blanks, whole units"`
	Quote  *Quote  `json:"quote,omitempty" doc:"with 402: what it would cost"`
	Fields []Field `json:"errors,omitempty" doc:"which fields were wrong"`

	Server string `json:"-"` // who said so
}

// Field is one field of a request that was wrong.
type Field struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error is what was wrong and what to do.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	for _, f := range p.Fields {
		text += fmt.Sprintf("; %s: %s", f.Location, f.Message)
	}
	if p.Do != "" {
		text += " (" + p.Do + ")"
	}
	return text
}

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is what a problem travels as.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// Attempt is one server that was tried and what came of it.
type Attempt struct {
	Server string
	Err    error
}

// Unreachable says that no server took the request: nothing has happened.
type Unreachable struct{ Tried []Attempt }

func (e *Unreachable) Error() string {
	return "no server answered: " + attempts(e.Tried)
}

// Unknown says that a server may have taken the request and no answer came: sent again with the same key, it
// answers as it would have answered the first time.
type Unknown struct{ Tried []Attempt }

func (e *Unknown) Error() string {
	return "no server said whether the request took effect; repeat the same request: " + attempts(e.Tried)
}

func attempts(tried []Attempt) string {
	parts := make([]string, len(tried))
	for i, a := range tried {
		parts[i] = fmt.Sprintf("%s: %v", a.Server, a.Err)
	}
	return strings.Join(parts, "; ")
}

// Codes that a client acts on.
const (
	CodeOutcomeUnknown  = "outcome_unknown"  // 503: repeat the same request
	CodeIndexAhead      = "index_ahead"      // 503: this server has not seen what the client has
	CodeNoLeader        = "no_leader"        // 503: nothing was tried
	CodePaymentRequired = "payment_required" // 402 with a quote
	codeServerUnknown   = "server_unknown"   // 404: it is no member
	codeNodeUnknown     = "node_unknown"     // 404: there is none of that name
)
