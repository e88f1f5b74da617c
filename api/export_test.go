package api

import (
	"context"
	"net/netip"
	"time"
)

// RowOf lets a test look into the table of codes.
func RowOf(code string) (status int, do string) { return table[code].status, table[code].do }

// Meter lets a test send requests of an address, which owe something, at times of its own.
func Meter(l Limits) func(addr netip.Addr, owed int, at time.Time) bool {
	a := newAddresses(l)
	return func(addr netip.Addr, owed int, at time.Time) bool {
		leave, err := a.enter(addr, at)
		if err != nil {
			owed = 0
		}
		leave(owed, at)
		return err == nil
	}
}

// Curve lets a test wait for the processors that check coins.
type Curve struct{ c *curve }

// NewCurve makes one for tests.
func NewCurve(l Limits) (Curve, error) {
	m, err := newMetrics(nil)
	if err != nil {
		return Curve{}, err
	}
	return Curve{newCurve(l, m)}, nil
}

// Check is a request with coins.
func (c Curve) Check(ctx context.Context, addr netip.Addr, f func() error) error {
	return c.c.check(ctx, addr, f)
}

// Run is a request that was accepted.
func (c Curve) Run(ctx context.Context, addr netip.Addr, f func() error) error {
	return c.c.run(ctx, addr, f)
}

// Waiting is how many wait.
func (c Curve) Waiting() int {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	return c.c.waiting
}

// MeltQuoteID lets a test write a quote's id.
func MeltQuoteID(text string, expiry, bid, time, pay uint64) string {
	return (&meltQuote{text: text, expiry: expiry, bid: bid, time: time, pay: pay}).encode()
}

// ReadMeltQuoteID lets a test read one and write it again.
func ReadMeltQuoteID(id string) (again string, ok bool) {
	q, err := readMeltQuote(id)
	if err != nil {
		return "", false
	}
	return q.encode(), true
}

// ReadCredential lets a test read a payment's header; it returns how many coins there are.
func ReadCredential(text string) (int, error) {
	_, token, err := readCredential(text)
	return len(token.Proofs), err
}
