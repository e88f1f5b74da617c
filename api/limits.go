package api

import (
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/coinop/coinop/funding/mint"
)

// Limits bound what one request, one address and all of them together may cost this server. Limits on what is
// asked for (names, sizes, tasks) belong to the scheduler, which refuses alike on every replica.
type Limits struct {
	HeaderBytes int           // of a request
	BodyBytes   int64         // of a request in JSON
	BlobBytes   int64         // of one blob
	HeaderTime  time.Duration // to send the headers
	BodyTime    time.Duration // to send a body in JSON
	IdleTime    time.Duration // a connection without a request
	AnswerTime  time.Duration // until the outcome of a proposal counts as unknown
	WaitMax     time.Duration // the longest a request may wait for a job
	StreamsMax  int           // logs and events at once

	Coins        mint.Limits
	CurveWorkers int // coins are checked on so many processors, so that the log always has one
	CurveQueue   int // requests that may wait for them; more are told to come again

	// Per address, beside this machine's own: requests that make the server work without being paid for it.
	AddressRate  float64 // a second
	AddressBurst int
	AddressesMax int // remembered; when full, those that have rested longest are forgotten

	JobsPage   int // the most jobs, events or prices in one answer
	ChecksMax  int // points of one checkstate
	OutputsMax int // outputs of one restore
	RunsShown  int
}

// DefaultLimits are generous to people and small to a server.
func DefaultLimits() Limits {
	return Limits{
		HeaderBytes: 32 << 10,
		BodyBytes:   1 << 20,
		BlobBytes:   64 << 30,
		HeaderTime:  10 * time.Second,
		BodyTime:    30 * time.Second,
		IdleTime:    2 * time.Minute,
		AnswerTime:  15 * time.Second,
		WaitMax:     30 * time.Second,
		StreamsMax:  2000,

		Coins:        mint.DefaultLimits(),
		CurveWorkers: max(1, runtime.GOMAXPROCS(0)-1),
		CurveQueue:   256,

		AddressRate:  100,
		AddressBurst: 500,
		AddressesMax: 10_000,

		JobsPage:   1000,
		ChecksMax:  1000,
		OutputsMax: 1000,
		RunsShown:  100,
	}
}

// addresses meters requests by the address that they come from.
type addresses struct {
	limits Limits

	mu     sync.Mutex
	meters map[netip.Addr]*meter
}

type meter struct {
	rate *rate.Limiter
	last time.Time
}

func newAddresses(l Limits) *addresses {
	return &addresses{limits: l, meters: map[netip.Addr]*meter{}}
}

// allow takes one request of an address. IPv6 is metered by /64, since one user has that many.
func (a *addresses) allow(addr netip.Addr, at time.Time) bool {
	if addr.IsLoopback() {
		return true
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			addr = prefix.Addr()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	m, ok := a.meters[addr]
	if !ok {
		if len(a.meters) >= a.limits.AddressesMax {
			a.forget(at)
		}
		m = &meter{rate: rate.NewLimiter(rate.Limit(a.limits.AddressRate), a.limits.AddressBurst)}
		a.meters[addr] = m
	}
	m.last = at
	return m.rate.AllowN(at, 1)
}

// forget makes room. A meter that has rested long enough to be full again says nothing; if none has, the
// one that rested longest goes.
func (a *addresses) forget(at time.Time) {
	full := time.Duration(float64(a.limits.AddressBurst) / a.limits.AddressRate * float64(time.Second))
	var oldest netip.Addr
	var since time.Time
	for addr, m := range a.meters {
		if at.Sub(m.last) >= full {
			delete(a.meters, addr)
			continue
		}
		if since.IsZero() || m.last.Before(since) {
			oldest, since = addr, m.last
		}
	}
	if len(a.meters) >= a.limits.AddressesMax {
		delete(a.meters, oldest)
	}
}
