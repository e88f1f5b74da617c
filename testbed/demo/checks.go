package main

import (
	"errors"
	"fmt"

	"github.com/coinop/coinop/api/client"
)

// checks counts what was compared. What does not hold is kept with what was expected.
type checks struct {
	screen *screen
	passed int
	failed []error
}

// that prints and counts one check.
func (c *checks) that(holds bool, what string, args ...any) {
	text := fmt.Sprintf(what, args...)
	if holds {
		c.passed++
		c.screen.say(passed, "  ✓ %s", text)
		return
	}
	c.failed = append(c.failed, errors.New(text))
	c.screen.say(failed, "  ✗ expected: %s", text)
}

// equal checks that two values are the same and names both where they are not.
func equal[T comparable](c *checks, what string, got, want T) {
	if got == want {
		c.that(true, "%s: %v", what, got)
		return
	}
	c.that(false, "%s: %v, but it is %v", what, want, got)
}

// err is what failed, or nil.
func (c *checks) err() error { return errors.Join(c.failed...) }

// wrongWith says what does not add up in a receipt: deposited = charged + refunded in total and for each deposit, and
// the lines make what was charged.
func wrongWith(r client.Receipt) error {
	if r.DepositedMicro != r.ChargedMicro+r.RefundedMicro {
		return fmt.Errorf("job %d: deposited %d is not charged %d + refunded %d", r.Job, r.DepositedMicro, r.ChargedMicro, r.RefundedMicro)
	}
	var lines, deposited, charged, refunded int64
	for _, l := range r.Lines {
		lines += l.AmountMicro
	}
	if lines != r.ChargedMicro {
		return fmt.Errorf("job %d: its lines make %d, charged is %d", r.Job, lines, r.ChargedMicro)
	}
	for _, d := range r.Deposits {
		if d.DepositedMicro != d.ChargedMicro+d.RefundedMicro {
			return fmt.Errorf("job %d: deposit %d does not add up", r.Job, d.Deposit)
		}
		deposited, charged, refunded = deposited+d.DepositedMicro, charged+d.ChargedMicro, refunded+d.RefundedMicro
	}
	if deposited != r.DepositedMicro || charged != r.ChargedMicro || refunded != r.RefundedMicro {
		return fmt.Errorf("job %d: its deposits do not make the total", r.Job)
	}
	return nil
}

// unit is a credit in micro-units.
const unit = 1_000_000

// credits prints micro-units as credits.
func credits(micro int64) string {
	if micro%unit == 0 {
		return fmt.Sprint(micro / unit)
	}
	return fmt.Sprintf("%d.%06d", micro/unit, micro%unit)
}
