package sim

import (
	"fmt"
	"time"

	"github.com/coinop/coinop/consensus/machine"
)

// inWords tells an entry and what became of it.
func inWords(e applied) string {
	at, c, err := machine.Decode(e.bytes)
	if err != nil {
		return fmt.Sprintf("bytes that are no entry → %s", e.code)
	}
	text := fmt.Sprintf("%v %s → %s", time.Duration(at-dayOne)*time.Millisecond, told(c), e.code)
	if e.why != "" {
		text += " (" + e.why + ")"
	}
	return text
}

func payment(p *machine.Payment) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf(" with %d coins, pay %d, fee %d, %d blanks", len(p.Coins.Inputs), p.Coins.Pay, p.Coins.Fee, len(p.Coins.Blanks))
}

func told(c machine.Command) string {
	switch c := c.(type) {
	case *machine.Submit:
		return fmt.Sprintf("submit in pool %d from pot %d, mode %d, bid %d, %d ms, tasks %d-%d%%%d, at most %d%s",
			c.Pool, c.Pot, c.Mode, c.Bid, c.TimeLimit, c.Tasks.First, c.Tasks.Last, c.AtOnce, c.MaxTotal, payment(c.Payment))
	case *machine.Deposit:
		return "deposit" + payment(&c.Payment)
	case *machine.PotCreate:
		return "open a pot" + payment(c.Payment)
	case *machine.Swap:
		return fmt.Sprintf("swap %d coins for %d", len(c.Coins.Inputs), len(c.Coins.Outputs))
	case *machine.Mint:
		return fmt.Sprintf("mint %d coins", len(c.Outputs))
	case *machine.MintQuote:
		return fmt.Sprintf("quote %d", c.Amount)
	case *machine.Claim:
		return fmt.Sprintf("claim refund %d", c.Refund)
	case *machine.Cancel:
		return fmt.Sprintf("cancel job %d tasks %v signal %d", c.Job, c.Tasks, c.Signal)
	case *machine.JobCap:
		return fmt.Sprintf("limit job %d to %v, others to %v, its time to %v", c.Job, deref(c.MaxTotal), deref(c.CapOthers), deref(c.TimeLimit))
	case *machine.Report:
		return "report" + reported(c)
	case *machine.Keyset:
		if c.New != nil {
			return fmt.Sprintf("new keyset %d", c.New.Number)
		}
		return fmt.Sprintf("keyset %d becomes %d, or sweep %d", c.Number, c.State, c.Sweep)
	case *machine.Place, *machine.Price, *machine.Pulse, *machine.Forget, *machine.OnHold, *machine.PotClose, *machine.NodeState:
		return fmt.Sprintf("%T %+v", c, c)
	}
	return fmt.Sprintf("%T", c)
}

func deref[T any](p *T) any {
	if p == nil {
		return "-"
	}
	return *p
}

func reported(c *machine.Report) string {
	text := ""
	for _, r := range c.Runs {
		text += fmt.Sprintf(" run %d", r.Run)
		if r.Started != nil {
			text += fmt.Sprintf(" started %v", time.Duration(*r.Started-dayOne)*time.Millisecond)
		}
		if r.Alive != nil {
			text += fmt.Sprintf(" went on until %v frozen %v;", time.Duration(r.Alive.To-dayOne)*time.Millisecond, r.Alive.Stopped)
		}
		if r.Ended != nil {
			text += fmt.Sprintf(" ended %v reason %d fault %t frozen %v;", time.Duration(r.Ended.At-dayOne)*time.Millisecond, r.Ended.Reason, r.Ended.Fault, r.Ended.Stopped)
		}
	}
	return text
}
