package scheduler

import (
	"fmt"

	"github.com/coinop/coinop/funding"
)

// Ask is what a user said of money and time; zero means left open.
type Ask struct {
	Pay    funding.Amount // for all tasks together
	Bid    funding.Rate
	Time   funding.Millis
	Mode   funding.Mode // zero: safe
	Tasks  int32        // zero: one
	AtOnce int32        // the array's % limit; zero: none
}

// Agreement is what a job would run under.
type Agreement struct {
	Bid       funding.Rate
	TimeLimit funding.Millis // zero: none (stream only)
	Each      funding.Amount // what one task reserves
	Fee       funding.Amount // the pool's submit fee
	Hold      funding.Amount // fee and every task (stream: every task that may run at once)
	Free      funding.Amount // what Pay leaves over, free in the pot
}

// Terms finds bid, time limit and hold from what the user said. Of pay, time and bid two give the
// third; pay alone first buys time at the default bid, up to the pool's default time limit, and what
// is left raises the bid. Without pay the hold says how much is needed.
func Terms(p *Pool, w funding.Weight, ask Ask) (Agreement, error) {
	t := terms{pool: p, weight: w, ask: ask, tasks: int64(max(ask.Tasks, 1))}
	if err := t.check(); err != nil {
		return Agreement{}, err
	}
	if ask.Mode == funding.Stream {
		return t.stream()
	}
	return t.safe()
}

type terms struct {
	pool   *Pool
	weight funding.Weight
	ask    Ask
	tasks  int64
}

// defaultBid follows a floor that was raised above it.
func (t *terms) defaultBid() funding.Rate { return max(t.pool.DefaultBid, t.pool.Floor, 1) }

func (t *terms) defaultTime() funding.Millis {
	d := max(t.pool.TimeDefault, TimeMin)
	if t.pool.TimeMax > 0 {
		d = min(d, t.pool.TimeMax)
	}
	return d
}

func (t *terms) check() error {
	a := t.ask
	switch {
	case a.Mode != 0 && a.Mode != funding.Safe && a.Mode != funding.Stream:
		return &FieldError{"mode", "is neither safe nor stream"}
	case a.Pay < 0:
		return &FieldError{"pay", "is negative"}
	case a.Pay > funding.PotMax:
		return &LimitError{What: "pay", Max: wholeUnits(funding.PotMax), Got: wholeUnits(a.Pay), Unit: "units"}
	case a.Bid < 0:
		return &FieldError{"bid", "is negative"}
	case a.Bid > funding.RateMax:
		return &LimitError{What: "bid", Max: int64(funding.RateMax), Got: int64(a.Bid), Unit: "micro-units"}
	case a.Tasks < 0:
		return &FieldError{"array", "has less than no tasks"}
	case a.Time < 0:
		return &FieldError{"time", "is negative"}
	case a.Time > 0 && a.Time < TimeMin:
		return &FieldError{"time", "is less than the second that is billed at least"}
	}
	if top := t.timeMax(); a.Time > top {
		return &LimitError{What: "time", Max: int64(top), Got: int64(a.Time), Unit: "ms"}
	}
	if err := t.weight.Check(); err != nil {
		return fmt.Errorf("terms: %w", err)
	}
	if err := ValidateTasks(TaskRange{0, int32(t.tasks - 1)}, a.AtOnce, t.pool.ArrayMax); err != nil {
		return err
	}
	if a.Bid > 0 && a.Bid < t.pool.Floor {
		return t.belowFloor(a.Bid, t.ask.Time)
	}
	return nil
}

func (t *terms) timeMax() funding.Millis {
	if t.pool.TimeMax > 0 {
		return t.pool.TimeMax
	}
	return funding.MillisMax
}

// safe holds the most that every task can cost.
func (t *terms) safe() (Agreement, error) {
	a := t.ask
	if a.Pay == 0 {
		return t.agree(orRate(a.Bid, t.defaultBid()), orTime(a.Time, t.defaultTime()))
	}
	each := max(0, a.Pay-t.pool.SubmitFee) / funding.Amount(t.tasks)
	if a.Time > 0 {
		if a.Bid > 0 {
			return t.agree(a.Bid, a.Time)
		}
		return t.raise(each, a.Time)
	}
	bid := orRate(a.Bid, t.defaultBid())
	d, err := funding.TimeFor(each, t.weight, bid)
	if err != nil {
		return Agreement{}, fmt.Errorf("terms: %w", err)
	}
	if d < TimeMin {
		return t.agree(bid, TimeMin) // which says what is missing
	}
	if a.Bid > 0 {
		return t.agree(bid, min(d, t.timeMax()))
	}
	if d < t.defaultTime() {
		return t.agree(bid, d)
	}
	return t.raise(each, t.defaultTime())
}

// raise puts all of a task's share into the bid.
func (t *terms) raise(each funding.Amount, d funding.Millis) (Agreement, error) {
	bid, err := funding.BidFor(each, t.weight, d)
	if err != nil {
		return Agreement{}, fmt.Errorf("terms: %w", err)
	}
	if bid < max(t.pool.Floor, 1) {
		return Agreement{}, t.belowFloor(bid, d)
	}
	return t.agree(bid, d)
}

// agree adds up the hold and refuses a pay that does not cover it.
func (t *terms) agree(bid funding.Rate, d funding.Millis) (Agreement, error) {
	each, err := bid.Cost(t.weight, d)
	if err != nil {
		return Agreement{}, t.tooMuch(err)
	}
	return t.sum(Agreement{Bid: bid, TimeLimit: d, Each: each}, t.tasks)
}

func (t *terms) sum(a Agreement, tasks int64) (Agreement, error) {
	all, err := a.Each.Times(tasks)
	if err != nil {
		return Agreement{}, t.tooMuch(err)
	}
	a.Fee = t.pool.SubmitFee
	if a.Hold, err = all.Plus(a.Fee); err != nil {
		return Agreement{}, t.tooMuch(err)
	}
	if t.ask.Pay > 0 && t.ask.Pay < a.Hold {
		return Agreement{}, &MoneyShort{Have: t.ask.Pay, Need: a.Hold, Bid: a.Bid, Time: a.TimeLimit, Tasks: tasks}
	}
	if a.Hold > funding.PotMax {
		return Agreement{}, t.tooMuch(nil)
	}
	a.Free = max(0, t.ask.Pay-a.Hold)
	return a, nil
}

// tooMuch answers what no pot could hold.
func (t *terms) tooMuch(err error) error {
	limit := &LimitError{What: "what the job may cost", Max: wholeUnits(funding.PotMax), Got: -1, Unit: "units"}
	if err == nil {
		return limit
	}
	return fmt.Errorf("%w: %w", limit, err)
}

// stream holds a tranche and the pause reserve for each task that may run at once, at today's price;
// pay may be as little as one second and the reserve of a single task.
func (t *terms) stream() (Agreement, error) {
	bid := orRate(t.ask.Bid, t.defaultBid())
	price := min(bid, max(t.pool.Price, t.pool.Floor))
	least, err := price.Cost(t.weight, TimeMin+t.pool.PauseGrace)
	if err != nil {
		return Agreement{}, t.tooMuch(err)
	}
	if least, err = least.Plus(t.pool.SubmitFee); err != nil {
		return Agreement{}, t.tooMuch(err)
	}
	if t.ask.Pay > 0 && t.ask.Pay < least {
		return Agreement{}, &MoneyShort{Have: t.ask.Pay, Need: least, Bid: bid, Time: TimeMin, Tasks: 1}
	}
	each, err := price.Cost(t.weight, max(t.pool.Tranche, TimeMin)+t.pool.PauseGrace)
	if err != nil {
		return Agreement{}, t.tooMuch(err)
	}
	tasks := t.tasks
	if t.ask.AtOnce > 0 {
		tasks = min(tasks, int64(t.ask.AtOnce))
	}
	full := *t
	full.ask.Pay = 0 // less than a full tranche is enough
	a, err := full.sum(Agreement{Bid: bid, TimeLimit: t.ask.Time, Each: each}, tasks)
	if err != nil {
		return Agreement{}, err
	}
	if t.ask.Pay > 0 {
		a.Hold = min(a.Hold, t.ask.Pay)
		a.Free = t.ask.Pay - a.Hold
	}
	return a, nil
}

func orRate(r, other funding.Rate) funding.Rate {
	if r > 0 {
		return r
	}
	return other
}

func orTime(d, other funding.Millis) funding.Millis {
	if d > 0 {
		return d
	}
	return other
}
