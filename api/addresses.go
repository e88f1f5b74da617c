package api

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// addresses meters what comes from each address. This machine's own users are not strangers to it.
type addresses struct {
	limits Limits

	mu     sync.Mutex
	meters map[netip.Addr]*meter
}

// meter is one address's. Its fields are guarded by the mutex of addresses.
type meter struct {
	rate    *rate.Limiter
	last    time.Time
	flight  int // requests that are being answered
	streams int
	conns   int
}

func (m *meter) idle() bool { return m.flight == 0 && m.streams == 0 && m.conns == 0 }

func newAddresses(l Limits) *addresses {
	return &addresses{limits: l, meters: map[netip.Addr]*meter{}}
}

// own reports whether an address is this machine's by its two usual names, or none of a network; all else of loopback is
// metered like anybody, which is how floods are tried out.
func own(addr netip.Addr) bool {
	return !addr.IsValid() || addr == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || addr == netip.IPv6Loopback()
}

// metered is by what an address is metered: IPv6 by /64, since one user has that many.
func metered(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() && !addr.IsLoopback() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return addr
}

// meter finds or makes an address's; the mutex is held.
func (a *addresses) meter(addr netip.Addr, at time.Time) *meter {
	m, ok := a.meters[addr]
	if !ok {
		if len(a.meters) >= a.limits.AddressesMax {
			a.forget(at)
		}
		m = &meter{rate: rate.NewLimiter(rate.Limit(a.limits.AddressRate), a.limits.AddressBurst)}
		a.meters[addr] = m
	}
	m.last = at
	return m
}

// enter lets a request in, and leave ends it with what it has cost beside the one that every request costs. An address
// that owes is let in again when time has paid; its request is refused, but has a leave: whoever is told at once asks
// at once.
func (a *addresses) enter(addr netip.Addr, at time.Time) (leave func(owed int, at time.Time), err error) {
	if addr = metered(addr); own(addr) {
		return func(int, time.Time) {}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.meter(addr, at)
	if m.flight >= a.limits.AddressFlight {
		return nil, fail(codeTooMany, "%d requests of %s are being answered, which is as many as one address may have", m.flight, addr)
	}
	m.flight++
	if !m.rate.AllowN(at, 1) {
		err = fail(codeTooMany, "too many requests from %s", addr)
	}
	return func(owed int, at time.Time) {
		a.mu.Lock()
		defer a.mu.Unlock()
		m.flight--
		m.last = at
		if owed > 0 {
			m.rate.ReserveN(at, min(owed, a.limits.AddressBurst)) // it may owe: it has been done
		}
	}, err
}

// pace lets a stream go on when its address has the points for it: many streams of one address share what it has.
func (a *addresses) pace(ctx context.Context, addr netip.Addr, points int) error {
	if addr = metered(addr); own(addr) {
		return nil
	}
	a.mu.Lock()
	m := a.meter(addr, now())
	a.mu.Unlock()
	return m.rate.WaitN(ctx, min(points, a.limits.AddressBurst))
}

// count counts one more of what an address may have only so many of, and returns how to end it; nil: it has them all.
func (a *addresses) count(addr netip.Addr, at time.Time, which func(*meter) *int, most int) (end func()) {
	if addr = metered(addr); own(addr) {
		return func() {}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.meter(addr, at)
	n := which(m)
	if *n >= most {
		return nil
	}
	*n++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		*n--
	}
}

// forget makes room. A meter that has rested long enough to be full again says nothing; if none has, the one that
// rested longest goes. One that is in use stays.
func (a *addresses) forget(at time.Time) {
	full := time.Duration(2 * float64(a.limits.AddressBurst) / a.limits.AddressRate * float64(time.Second)) // from the deepest debt
	var oldest netip.Addr
	var since time.Time
	for addr, m := range a.meters {
		switch {
		case !m.idle():
		case at.Sub(m.last) >= full:
			delete(a.meters, addr)
		case since.IsZero() || m.last.Before(since):
			oldest, since = addr, m.last
		}
	}
	if len(a.meters) >= a.limits.AddressesMax {
		delete(a.meters, oldest)
	}
}
