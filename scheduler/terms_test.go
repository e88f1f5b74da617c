package scheduler

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/coinop/coinop/funding"
)

const (
	credit = funding.UnitMicro
	hour   = funding.Millis(3_600_000)
)

// devPool is dev's: floor one credit, default bid two, one hour unless said otherwise.
func devPool() *Pool {
	return &Pool{
		ID: 1, Name: "default", Admission: Trusted, Loopback: true, Weights: Weights{CPU: 1000, Memory: 250}, Floor: 1_000_000,
		DefaultBid: 2_000_000, TimeDefault: hour, TimeMax: 7 * 24 * hour, KillDelay: 30_000, PauseGrace: 300_000, Tranche: 600_000,
		Tick: 10_000, Drivers: []string{"process"}, Price: 1_000_000, LowFunds: 60_000,
	}
}

func TestPayTimeAndBid(t *testing.T) {
	for name, c := range map[string]struct {
		weight funding.Weight
		ask    Ask
		want   Agreement
	}{
		"the job file: 100 tasks × 2.5 units × 600 s × a bid of 2": {2500, Ask{Pay: 300_000 * credit, Time: 600_000, Tasks: 100},
			Agreement{Bid: 2_000_000, TimeLimit: 600_000, Each: 3000 * credit, Hold: 300_000 * credit}},
		"nothing said":   {1250, Ask{}, Agreement{Bid: 2_000_000, TimeLimit: hour, Each: 9000 * credit, Hold: 9000 * credit}},
		"time alone":     {1000, Ask{Time: 10_000}, Agreement{Bid: 2_000_000, TimeLimit: 10_000, Each: 20 * credit, Hold: 20 * credit}},
		"the least time": {1000, Ask{Time: 1000}, Agreement{Bid: 2_000_000, TimeLimit: 1000, Each: 2 * credit, Hold: 2 * credit}},
		"bid alone":      {1000, Ask{Bid: 3_000_000}, Agreement{Bid: 3_000_000, TimeLimit: hour, Each: 10_800 * credit, Hold: 10_800 * credit}},
		"time and bid":   {1000, Ask{Time: 5000, Bid: 1_000_000}, Agreement{Bid: 1_000_000, TimeLimit: 5000, Each: 5 * credit, Hold: 5 * credit}},
		"pay and bid":    {1000, Ask{Pay: 100 * credit, Bid: 4_000_000}, Agreement{Bid: 4_000_000, TimeLimit: 25_000, Each: 100 * credit, Hold: 100 * credit}},
		"pay and time":   {1000, Ask{Pay: 100 * credit, Time: 10_000}, Agreement{Bid: 10_000_000, TimeLimit: 10_000, Each: 100 * credit, Hold: 100 * credit}},
		"all three":      {1000, Ask{Pay: 100 * credit, Time: 10_000, Bid: 3_000_000}, Agreement{Bid: 3_000_000, TimeLimit: 10_000, Each: 30 * credit, Hold: 30 * credit, Free: 70 * credit}},
		"little pay buys time at the default bid":        {1000, Ask{Pay: 200 * credit}, Agreement{Bid: 2_000_000, TimeLimit: 100_000, Each: 200 * credit, Hold: 200 * credit}},
		"more pay raises the bid":                        {1000, Ask{Pay: 36_000 * credit}, Agreement{Bid: 10_000_000, TimeLimit: hour, Each: 36_000 * credit, Hold: 36_000 * credit}},
		"what cannot be divided stays free":              {1000, Ask{Pay: 100 * credit, Time: 10_000, Tasks: 3}, Agreement{Bid: 3_333_333, TimeLimit: 10_000, Each: 33_333_330, Hold: 99_999_990, Free: 10}},
		"pay and a low bid buy no more than the longest": {1000, Ask{Pay: 1_000_000 * credit, Bid: 1_000_000}, Agreement{Bid: 1_000_000, TimeLimit: 7 * 24 * hour, Each: 604_800 * credit, Hold: 604_800 * credit, Free: 395_200 * credit}},
		"a stream holds a tranche and the pause reserve": {1000, Ask{Mode: funding.Stream}, Agreement{Bid: 2_000_000, Each: 900 * credit, Hold: 900 * credit}},
		"a stream takes less than a tranche":             {1000, Ask{Mode: funding.Stream, Pay: 400 * credit}, Agreement{Bid: 2_000_000, Each: 900 * credit, Hold: 400 * credit}},
		"a stream leaves the rest free":                  {1000, Ask{Mode: funding.Stream, Pay: 1000 * credit, Time: hour}, Agreement{Bid: 2_000_000, TimeLimit: hour, Each: 900 * credit, Hold: 900 * credit, Free: 100 * credit}},
		"a stream's array holds for those that may run":  {1000, Ask{Mode: funding.Stream, Tasks: 10, AtOnce: 2}, Agreement{Bid: 2_000_000, Each: 900 * credit, Hold: 1800 * credit}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Terms(devPool(), c.weight, c.ask)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Fatal(d)
			}
		})
	}
}

func TestASubmitFeeIsPaidOnce(t *testing.T) {
	p := devPool()
	p.SubmitFee = credit
	got, err := Terms(p, 1000, Ask{Pay: 101 * credit, Time: 10_000, Tasks: 2})
	want := Agreement{Bid: 5_000_000, TimeLimit: 10_000, Each: 50 * credit, Fee: credit, Hold: 101 * credit}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Fatal(err, d)
	}
}

func TestAFloorRaisedAboveTheDefaultBid(t *testing.T) {
	p := devPool()
	p.Floor = 5_000_000
	if got, err := Terms(p, 1000, Ask{}); err != nil || got.Bid != 5_000_000 {
		t.Fatal(got, err)
	}
}

func TestABidBelowTheFloorHasWaysOut(t *testing.T) {
	var low *BelowFloor
	_, err := Terms(devPool(), 1000, Ask{Pay: 100 * credit, Time: 200_000})
	if !errors.As(err, &low) {
		t.Fatal(err)
	}
	want := BelowFloor{Bid: 500_000, Floor: 1_000_000, Time: 200_000, Need: 200 * credit, Buys: 100_000}
	if d := cmp.Diff(want, *low); d != "" {
		t.Fatal(d)
	}
	for _, w := range []string{"a bid of 0.5", "floor of 1", "bid at least 1", "pay at least 200", "at most 100s"} {
		if all := err.Error() + "\n" + strings.Join(low.Do(), "\n"); !strings.Contains(all, w) {
			t.Errorf("%q is not in %s", w, all)
		}
	}
	if _, err := Terms(devPool(), 1000, Ask{Bid: 999_999}); !errors.As(err, &low) || low.Bid != 999_999 || low.Buys != 0 {
		t.Fatal(err)
	}
	if _, err := Terms(devPool(), 1000, Ask{Bid: 999_999, Mode: funding.Stream}); !errors.As(err, &low) {
		t.Fatal(err)
	}
}

func TestTooLittlePayNamesWhatIsNeeded(t *testing.T) {
	for name, c := range map[string]struct {
		ask  Ask
		need funding.Amount
	}{
		"all three given":             {Ask{Pay: 29 * credit, Time: 10_000, Bid: 3_000_000}, 30 * credit},
		"less than a second":          {Ask{Pay: credit}, 2 * credit},
		"an array's share":            {Ask{Pay: 19 * credit, Tasks: 10}, 20 * credit},
		"less than a second, own bid": {Ask{Pay: credit, Bid: 7_000_000}, 7 * credit},
		"a stream's pause reserve":    {Ask{Pay: 300 * credit, Mode: funding.Stream}, 301 * credit},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Terms(devPool(), 1000, c.ask)
			var short *MoneyShort
			if !errors.As(err, &short) || short.Need != c.need || short.Have != c.ask.Pay {
				t.Fatalf("%v; want a need of %d", err, c.need)
			}
			if !strings.Contains(err.Error(), Decimal(int64(c.need))+" is needed") || len(short.Do()) == 0 {
				t.Fatal(err, short.Do())
			}
			c.ask.Pay = c.need
			if _, err := Terms(devPool(), 1000, c.ask); err != nil {
				t.Fatal("what was named is not enough: ", err)
			}
		})
	}
}

func TestTermsOutOfRange(t *testing.T) {
	for name, c := range map[string]struct {
		weight funding.Weight
		ask    Ask
		want   string
	}{
		"negative pay":       {1000, Ask{Pay: -1}, "pay: is negative"},
		"negative bid":       {1000, Ask{Bid: -1}, "bid: is negative"},
		"negative time":      {1000, Ask{Time: -1}, "time: is negative"},
		"too much pay":       {1000, Ask{Pay: funding.PotMax + 1}, "pay: "},
		"too high a bid":     {1000, Ask{Bid: funding.RateMax + 1}, "bid: "},
		"too short a time":   {1000, Ask{Time: 999}, "less than the second"},
		"too long a time":    {1000, Ask{Time: 7*24*hour + 1}, "time: "},
		"more than a pot":    {funding.WeightMax, Ask{Bid: funding.RateMax, Time: hour}, "may cost"},
		"overflowing":        {funding.WeightMax, Ask{Bid: funding.RateMax, Time: 7 * 24 * hour, Tasks: 100_000}, "may cost"},
		"less than no tasks": {1000, Ask{Tasks: -1}, "array"},
		"no weight":          {0, Ask{}, "weight"},
		"a mode unknown":     {1000, Ask{Mode: 9}, "mode"},
		"too long an array":  {1000, Ask{Tasks: TasksMax + 1}, "array"},
		"a negative limit":   {1000, Ask{Tasks: 2, AtOnce: -1}, "array"},
		"a stream too dear":  {funding.WeightMax, Ask{Bid: funding.RateMax, Mode: funding.Stream, Tasks: 100_000}, "may cost"},
	} {
		t.Run(name, func(t *testing.T) {
			p := devPool()
			p.Price = funding.RateMax
			got, err := Terms(p, c.weight, c.ask)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%+v, %v", got, err)
			}
			if d := cmp.Diff(Agreement{}, got); d != "" {
				t.Fatal(d)
			}
		})
	}
}

// TestTermsAddUp: whatever is agreed is at or above the floor, within pay, and covers what it says.
func TestTermsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num := func(hi int64, what string) int64 {
			return rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, hi)).Draw(t, what)
		}
		p := devPool()
		p.SubmitFee = funding.Amount(num(int64(10*credit), "fee"))
		w := funding.Weight(1 + num(5000, "weight"))
		ask := Ask{Pay: funding.Amount(num(100_000, "pay")) * credit, Bid: funding.Rate(num(20_000_000, "bid")), Time: funding.Millis(num(int64(hour), "time")),
			Tasks: int32(1 + num(20, "tasks"))}
		a, err := Terms(p, w, ask)
		if err != nil {
			return
		}
		cost, err := a.Bid.Cost(w, a.TimeLimit)
		if err != nil || cost != a.Each || a.Hold != a.Fee+a.Each*funding.Amount(ask.Tasks) || a.Bid < p.Floor || a.TimeLimit < TimeMin {
			t.Fatalf("%+v, cost %d, %v", a, cost, err)
		}
		if ask.Pay > 0 && a.Hold+a.Free != ask.Pay || ask.Bid > 0 && a.Bid != ask.Bid || ask.Time > 0 && a.TimeLimit != ask.Time {
			t.Fatalf("%+v is not what was asked: %+v", a, ask)
		}
		if ask.Pay > 0 && ask.Time == 0 && ask.Bid == 0 && a.TimeLimit < p.TimeDefault && a.Bid != p.DefaultBid {
			t.Fatalf("the bid was raised before the time was bought: %+v", a)
		}
	})
}

func TestDecimals(t *testing.T) {
	for micro, want := range map[int64]string{0: "0", 1: "0.000001", 1_500_000: "1.5", -250_000: "-0.25", 7_000_000: "7", -1 << 63: "-9223372036854.775808"} {
		if got := Decimal(micro); got != want {
			t.Errorf("%d: %s, want %s", micro, got, want)
		}
	}
}
