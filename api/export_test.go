package api

import (
	"net/netip"
	"time"
)

// RowOf lets a test look into the table of codes.
func RowOf(code string) (status int, do string) { return table[code].status, table[code].do }

// Meter lets a test ask for addresses at times of its own.
func Meter(l Limits) func(netip.Addr, time.Time) bool { return newAddresses(l).allow }
