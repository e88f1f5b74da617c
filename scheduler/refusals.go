package scheduler

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/coinop/coinop/funding"
)

// BelowFloor refuses a bid, given or derived, that the pool does not take.
type BelowFloor struct {
	Bid   funding.Rate
	Floor funding.Rate
	Time  funding.Millis // the time limit it was for; zero: none
	Need  funding.Amount // what Time costs at the floor, all tasks and the fee; zero: unknown
	Buys  funding.Millis // the time that the same money buys at the floor; zero: none
}

// Error names bid and floor.
func (e *BelowFloor) Error() string {
	return fmt.Sprintf("a bid of %s is below the pool's floor of %s", Decimal(int64(e.Bid)), Decimal(int64(e.Floor)))
}

// Do lists the ways out.
func (e *BelowFloor) Do() []string {
	ways := []string{"bid at least " + Decimal(int64(e.Floor))}
	if e.Need > 0 {
		ways = append(ways, fmt.Sprintf("pay at least %d", wholeUnits(e.Need)))
	}
	if e.Buys >= TimeMin {
		ways = append(ways, "ask for at most "+seconds(e.Buys)+" of time")
	}
	return append(ways, "ask for less, or use a pool with a lower floor")
}

// MoneyShort refuses a pay that does not cover what it must.
type MoneyShort struct {
	Have  funding.Amount
	Need  funding.Amount
	Bid   funding.Rate
	Time  funding.Millis
	Tasks int64
}

// Error names what is there and what is needed.
func (e *MoneyShort) Error() string {
	return fmt.Sprintf("%s does not pay for %d × %s at a bid of %s: %s is needed",
		Decimal(int64(e.Have)), e.Tasks, seconds(e.Time), Decimal(int64(e.Bid)), Decimal(int64(e.Need)))
}

// Do lists the ways out.
func (e *MoneyShort) Do() []string {
	return []string{
		fmt.Sprintf("pay at least %d", wholeUnits(e.Need)),
		"ask for less: fewer tasks, less time, smaller tasks or a lower bid",
	}
}

// belowFloor works out the ways out of a bid for time d, zero for an open time.
func (t *terms) belowFloor(bid funding.Rate, d funding.Millis) error {
	floor := max(t.pool.Floor, 1)
	e := &BelowFloor{Bid: bid, Floor: floor, Time: d}
	if d > 0 {
		at := *t
		at.ask.Pay = 0
		if a, err := at.agree(floor, d); err == nil {
			e.Need = a.Hold
		}
	}
	if t.ask.Pay > 0 && t.ask.Mode != funding.Stream {
		each := max(0, t.ask.Pay-t.pool.SubmitFee) / funding.Amount(t.tasks)
		if buys, err := funding.TimeFor(each, t.weight, floor); err == nil {
			e.Buys = min(buys, t.timeMax())
		}
	}
	return e
}

// Decimal writes a number of micro-units as whole units with up to six decimals, none too many.
func Decimal(micro int64) string {
	sign, u := "", uint64(micro)
	if micro < 0 {
		sign, u = "-", -u
	}
	whole, rest := u/uint64(funding.UnitMicro), u%uint64(funding.UnitMicro)
	s := sign + strconv.FormatUint(whole, 10)
	if rest == 0 {
		return s
	}
	return s + "." + strings.TrimRight(fmt.Sprintf("%06d", rest), "0")
}

// wholeUnits rounds up to what can be paid as coins.
func wholeUnits(a funding.Amount) int64 {
	whole := a / funding.UnitMicro
	if a%funding.UnitMicro > 0 {
		whole++
	}
	return int64(whole)
}

// seconds writes a time so that it can be pasted back into a command.
func seconds(d funding.Millis) string {
	return strconv.FormatInt(int64(d)/1000, 10) + "s"
}
