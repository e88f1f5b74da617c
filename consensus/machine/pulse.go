package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Pulse carries out what time has brought about; the leader proposes one only when something is
// due. Each part is checked again and skipped where it no longer holds.
type Pulse struct {
	Renew   []StreamID         `cbor:"1,keyasint,omitempty"` // stream holds whose threshold the index crossed
	Notice  []StreamID         `cbor:"2,keyasint,omitempty"` // pots that run low
	Pause   []StreamID         `cbor:"3,keyasint,omitempty"` // tranche gone and pot empty
	Resume  []StreamID         `cbor:"4,keyasint,omitempty"` // topped up
	Stop    []StopRun          `cbor:"5,keyasint,omitempty"` // time limits, pause grace, money's end, drains' deadlines
	Lost    []scheduler.NodeID `cbor:"6,keyasint,omitempty"` // leases that lapsed
	Expire  int32              `cbor:"8,keyasint,omitempty"` // forget up to so many requests, tokens and quotes past their time
	Prune   []scheduler.PoolID `cbor:"9,keyasint,omitempty"` // price breakpoints older than the oldest open run
	Close   []funding.PotID    `cbor:"10,keyasint,omitempty"`
	Refunds []funding.RefundID `cbor:"11,keyasint,omitempty"` // claimable balances past their published term
	Retry   []scheduler.NodeID `cbor:"12,keyasint,omitempty"` // nodes whose refusals for want of a GPU are over
	Keep    []scheduler.RunID  `cbor:"13,keyasint,omitempty"` // suspended runs that wait for room: paid on
	Wake    []scheduler.RunID  `cbor:"14,keyasint,omitempty"` // suspended runs that go on: there is money and room
	Move    []MoveRun          `cbor:"15,keyasint,omitempty"` // suspended runs that go on elsewhere
}

// StreamID names what a pot holds for its stream runs in one pool.
type StreamID struct {
	Pot  funding.PotID    `cbor:"1,keyasint"`
	Pool scheduler.PoolID `cbor:"2,keyasint"`
}

// StopRun gives a run notice: the reason, and when it is asked and made to stop.
type StopRun struct {
	Run    scheduler.RunID  `cbor:"1,keyasint"`
	Reason scheduler.Reason `cbor:"2,keyasint"`
	StopAt funding.Millis   `cbor:"3,keyasint"`
	KillAt funding.Millis   `cbor:"4,keyasint"`
}

// MoveRun lets a suspended run go on on another node.
type MoveRun struct {
	Run  scheduler.RunID  `cbor:"1,keyasint"`
	Node scheduler.NodeID `cbor:"2,keyasint"`
}

// PulseAnswer counts what was done and what no longer held.
type PulseAnswer struct {
	Done    int32 `cbor:"1,keyasint,omitempty"`
	Skipped int32 `cbor:"2,keyasint,omitempty"`
}

// Kind is part of [Command].
func (Pulse) Kind() Kind { return KindPulse }

// PulseMax bounds what one pulse carries out.
const PulseMax = 65_536

func (c Pulse) apply(tx *Tx, at funding.Millis) (any, error) {
	if n := len(c.Renew) + len(c.Notice) + len(c.Pause) + len(c.Resume) + len(c.Stop) + len(c.Lost) +
		len(c.Prune) + len(c.Close) + len(c.Refunds) + len(c.Retry) + len(c.Keep) + len(c.Wake) + len(c.Move); n > PulseMax {
		return nil, refuse(CodeLimit, "%d parts in one pulse, the limit is %d", n, PulseMax)
	}
	var answer PulseAnswer
	count := func(done bool) {
		if done {
			answer.Done++
		} else {
			answer.Skipped++
		}
	}
	for _, part := range []error{
		eachOf(c.Lost, count, tx.lose),
		eachOf(c.Renew, count, tx.renewDue),
		eachOf(c.Resume, count, tx.renewDue),
		eachOf(c.Notice, count, tx.noticeLow),
		eachOf(c.Pause, count, tx.pauseDue),
		eachOf(c.Stop, count, tx.stopDue),
		eachOf(c.Close, count, tx.closeDue),
		eachOf(c.Refunds, count, tx.lapse),
		eachOf(c.Prune, count, tx.prune),
		eachOf(c.Retry, count, tx.retry),
		eachOf(c.Keep, count, tx.keepDue),
		eachOf(c.Wake, count, tx.wake),
		eachOf(c.Move, count, tx.move),
	} {
		if part != nil {
			return nil, part
		}
	}
	if c.Expire > 0 {
		answer.Done += tx.expire(c.Expire)
	}
	return answer, nil
}

// eachOf carries out one list of a pulse: what no longer holds is skipped.
func eachOf[T any](items []T, count func(bool), do func(T) (bool, error)) error {
	for _, item := range items {
		done, err := do(item)
		if err != nil {
			return err
		}
		count(done)
	}
	return nil
}
