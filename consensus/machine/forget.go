package machine

import (
	"github.com/coinop/coinop/scheduler"
)

// Forget drops finished jobs from memory, after their retention and when their money is settled;
// the book keeps their history.
type Forget struct {
	Jobs []scheduler.JobID `cbor:"1,keyasint"`
}

// ForgetAnswer lists the jobs that had to stay.
type ForgetAnswer struct {
	Refused []RefusedItem `cbor:"1,keyasint,omitempty"`
}

// Kind is part of [Command].
func (Forget) Kind() Kind { return KindForget }
