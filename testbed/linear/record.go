package linear

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/coinop/coinop/api/client"
)

// never is when an operation of unknown outcome is over.
const never = math.MaxInt64

// record is a history while it is made.
type record struct {
	began time.Time

	mu  sync.Mutex
	seq int64
	ops []porcupine.Operation
}

// ofTime is room for what happens within one microsecond of virtual time, which stands still while anybody is busy.
const ofTime = 1 << 20

// stamp orders what happens: by virtual time, then as it comes.
func (r *record) stamp() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	return r.at(time.Now()) + r.seq
}

func (r *record) at(t time.Time) int64 { return t.Sub(r.began).Microseconds() * ofTime }

// do carries an operation out and writes down what came of it. A read that found no answer says nothing; so does a
// request that reached nobody.
func (r *record) do(who int, in Input, ask func() (Output, error)) (Output, error) {
	call := r.stamp()
	out, err := ask()
	back := r.stamp()
	var problem *client.Problem
	var unknown *client.Unknown
	var unreachable *client.Unreachable
	switch {
	case errors.As(err, &unreachable):
		return out, err
	case errors.As(err, &unknown):
		out, back = Output{Unknown: true}, never
	case errors.As(err, &problem):
		out = Output{Refused: problem.Code}
	case err != nil:
		return out, err
	}
	r.add(porcupine.Operation{ClientId: who, Input: in, Call: call, Output: out, Return: back})
	return out, err
}

func (r *record) add(op porcupine.Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

// calls is when the first operation of a kind on a job was called.
func (r *record) calls(kind Kind, job int) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := int64(never)
	for _, op := range r.ops {
		if in := op.Input.(Input); in.Kind == kind && in.Job == job {
			first = min(first, op.Call)
		}
	}
	return first
}
