package jobfile

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// ErrValue says that a value cannot be read; what it should look like is told with it.
var ErrValue = errors.New("not a value")

func bad(v, want string) error { return fmt.Errorf("%q is %w: write %s", v, ErrValue, want) }

// decimal reads digits with at most some decimals, scaled to a whole number. No sign, no exponent.
func decimal(v string, places int) (int64, bool) {
	whole, rest, point := strings.Cut(v, ".")
	if whole == "" || point && rest == "" || len(rest) > places {
		return 0, false
	}
	return digits(whole + rest + strings.Repeat("0", places-len(rest)))
}

func digits(v string) (int64, bool) {
	if v == "" || strings.Trim(v, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil
}

// ParseBid reads a rate in units per billing unit and second, with up to six decimals, exactly.
func ParseBid(v string) (funding.Rate, error) {
	n, ok := decimal(v, 6)
	if !ok || funding.Rate(n) > funding.RateMax {
		return 0, bad(v, "a number with up to six decimals, at most "+scheduler.Decimal(int64(funding.RateMax)))
	}
	return funding.Rate(n), nil
}

// ParseUnits reads an amount that moves as coins: whole units.
func ParseUnits(v string) (funding.Amount, error) {
	n, ok := digits(v)
	if !ok || n > int64(funding.PotMax/funding.UnitMicro) {
		return 0, bad(v, "a whole number, at most "+scheduler.Decimal(int64(funding.PotMax)))
	}
	return funding.Amount(n) * funding.UnitMicro, nil
}

// ParseCPUs reads a number of CPUs into thousandths.
func ParseCPUs(v string) (int64, error) {
	n, ok := decimal(v, 3)
	if !ok || n > scheduler.CPUMilliMax {
		return 0, bad(v, fmt.Sprintf("a number of CPUs with up to three decimals, at most %d", scheduler.CPUMilliMax/1000))
	}
	return n, nil
}

const sizeWant = `a size like 512MiB, 2GiB or 1.5T; a bare number is MiB`

// ParseSize reads a size in powers of two. A bare number is MiB; the "B" and "iB" of a unit may be left
// out.
func ParseSize(v string) (int64, error) {
	number := strings.TrimRight(v, "kKmMgGtTpPiIbB ")
	unit := strings.ToUpper(strings.TrimSpace(v[len(number):]))
	shift := 20
	if unit == "B" {
		shift = 0
	} else if unit != "" {
		i := strings.IndexByte("KMGTP", unit[0])
		if i < 0 || unit[1:] != "" && unit[1:] != "B" && unit[1:] != "IB" {
			return 0, bad(v, sizeWant)
		}
		shift = 10 * (i + 1)
	}
	micro, ok := decimal(number, 6)
	if !ok {
		return 0, bad(v, sizeWant)
	}
	hi, lo := bits.Mul64(uint64(micro), 1<<shift)
	if hi >= 1_000_000 {
		return 0, tooLarge(v)
	}
	size, rest := bits.Div64(hi, lo, 1_000_000)
	if rest > 0 {
		size++
	}
	if size > uint64(scheduler.BytesMax) {
		return 0, tooLarge(v)
	}
	return int64(size), nil
}

func tooLarge(v string) error {
	return fmt.Errorf("%q is too large: at most %dTiB", v, scheduler.BytesMax>>40)
}

const durationWant = `a time like 90 (seconds), 3600s, 10m, 1h30m or 1-12:00:00`

// ParseDuration reads a span of time.
func ParseDuration(v string) (funding.Millis, error) {
	if strings.ContainsAny(v, "-:") {
		return parseClock(v)
	}
	if n, ok := digits(v); ok {
		return span(v, n, 1000)
	}
	units := []struct {
		name   string
		millis int64
	}{{"d", 86_400_000}, {"h", 3_600_000}, {"m", 60_000}, {"s", 1000}, {"ms", 1}}
	var total funding.Millis
	rest := v
	for rest != "" {
		i := 0
		for i < len(rest) && rest[i] >= '0' && rest[i] <= '9' {
			i++
		}
		end := i
		for end < len(rest) && (rest[end] < '0' || rest[end] > '9') {
			end++
		}
		n, ok := digits(rest[:i])
		for len(units) > 0 && units[0].name != rest[i:end] {
			units = units[1:]
		}
		if !ok || len(units) == 0 {
			return 0, bad(v, durationWant)
		}
		d, err := span(v, n, units[0].millis)
		if err != nil {
			return 0, err
		}
		if total += d; total > funding.MillisMax {
			return 0, tooLong(v)
		}
		units, rest = units[1:], rest[end:]
	}
	if v == "" {
		return 0, bad(v, durationWant)
	}
	return total, nil
}

// parseClock reads [DAYS-]HOURS:MINUTES:SECONDS; with days, minutes and seconds may be left out.
func parseClock(v string) (funding.Millis, error) {
	days, clock, dashed := strings.Cut(v, "-")
	if !dashed {
		days, clock = "0", v
	}
	parts := strings.Split(clock, ":")
	if len(parts) > 3 || !dashed && len(parts) < 3 {
		return 0, bad(v, durationWant)
	}
	tops := []int64{math.MaxInt64, 59, 59}
	if dashed {
		tops[0] = 23
	}
	total, ok := digits(days)
	if !ok || total > int64(funding.MillisMax/86_400_000) {
		return 0, bad(v, durationWant)
	}
	total *= 86_400
	for i, unit := range []int64{3600, 60, 1} {
		if i == len(parts) {
			break
		}
		n, ok := digits(parts[i])
		if !ok || n > tops[i] {
			return 0, bad(v, durationWant)
		}
		if n > int64(funding.MillisMax)/1000/unit {
			return 0, tooLong(v)
		}
		total += n * unit
	}
	return span(v, total, 1000)
}

func span(v string, n, millis int64) (funding.Millis, error) {
	if n > int64(funding.MillisMax)/millis {
		return 0, tooLong(v)
	}
	return funding.Millis(n * millis), nil
}

func tooLong(v string) error { return fmt.Errorf("%q is too long: at most a century", v) }

const arrayWant = `a range like 0-99, or 0-99%10 for ten at once`

// ParseArray reads FIRST-LAST[%ATONCE]; one number is a range of one.
func ParseArray(v string) (Array, error) {
	tasks, limit, limited := strings.Cut(v, "%")
	a, b, isRange := strings.Cut(tasks, "-")
	if !isRange {
		b = a
	}
	first, ok1 := digits(a)
	last, ok2 := digits(b)
	atOnce, ok3 := int64(0), true
	if limited {
		atOnce, ok3 = digits(limit)
	}
	if !ok1 || !ok2 || !ok3 || first > last || limited && atOnce == 0 {
		return Array{}, bad(v, arrayWant)
	}
	if last >= scheduler.TaskNumberMax || last-first >= scheduler.TasksMax {
		return Array{}, fmt.Errorf("%q: an array has at most %d tasks, numbered below %d", v, scheduler.TasksMax, scheduler.TaskNumberMax)
	}
	return Array{int32(first), int32(last), int32(min(atOnce, scheduler.TasksMax))}, nil
}
