package jobfile_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
	"github.com/coinop/coinop/scheduler/jobfile"
)

func table[T comparable](t *testing.T, parse func(string) (T, error), good map[string]T, bad ...string) {
	t.Helper()
	for in, want := range good {
		if got, err := parse(in); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	var zero T
	for _, in := range bad {
		if got, err := parse(in); err == nil || got != zero {
			t.Errorf("%q is taken as %v", in, got)
		}
	}
}

func TestDurations(t *testing.T) {
	table(t, jobfile.ParseDuration, map[string]funding.Millis{
		"90": 90_000, "3600s": 3_600_000, "10m": 600_000, "1h30m": 5_400_000, "1-12:00:00": 129_600_000, "250ms": 250, "0": 0,
		"2d": 172_800_000, "1d1h1m1s1ms": 90_061_001, "12:00:00": 43_200_000, "100:00:00": 360_000_000, "2-12": 216_000_000, "0-00:30": 1_800_000,
		"36500d": funding.MillisMax,
	}, "", "-1", "1.5h", "10:00", "1-24:00:00", "1-00:60:00", "1-", "-", "m", "30m1h", "1h1h", "10 m", "36501d", "36500d1ms", "99999999999999999999",
		"9223372036854775807s", "36500-00:00:01", "3153600001", "1-1-1", "1:2:3:4", "９")
}

func TestSizes(t *testing.T) {
	table(t, jobfile.ParseSize, map[string]int64{
		"512": 512 << 20, "2GiB": 2 << 30, "2G": 2 << 30, "2gb": 2 << 30, "2 GiB": 2 << 30, "1.5T": 3 << 39, "100B": 100, "4k": 4096,
		"0.5K": 512, "1P": scheduler.BytesMax, "0": 0, "0.000001K": 1,
	}, "", "GiB", "-1", "2X", "2iB", "1.1P", "1e3", "9223372036854775807", "2P", ".5G", "1.G", "1.0000001G", "2GBiB", "2Gi")
}

func TestArrays(t *testing.T) {
	table(t, jobfile.ParseArray, map[string]jobfile.Array{
		"0-99%10": {Last: 99, AtOnce: 10}, "7": {First: 7, Last: 7}, "1-100000": {First: 1, Last: 100_000}, "0-1%5": {Last: 1, AtOnce: 5},
	}, "", "-", "5-1", "0-9%0", "0-9%", "0-15:4", "0,6,16-32", "a-b", "0-100000", "1073741824", "0-9%x")
}

func TestMoneyAndCounts(t *testing.T) {
	table(t, jobfile.ParseBid, map[string]funding.Rate{
		"2": 2_000_000, "0.1": 100_000, "0.000001": 1, "1000000": funding.RateMax, "0": 0,
	}, "", "-1", "+1", ".5", "1.", "1e3", "0.0000001", "1000000.000001", "1,5", "９")
	table(t, jobfile.ParseUnits, map[string]funding.Amount{"1": 1_000_000, "9000000000": funding.PotMax}, "", "1.0", "-1", "9000000001", "1e3")
	table(t, jobfile.ParseCPUs, map[string]int64{"2": 2000, "0.25": 250, "100000": 100_000_000}, "", "0.0001", "-1", "100001", "all")
}

// TestWhatIsWrittenIsReadBack: any bid and any time.
func TestWhatIsWrittenIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bid := funding.Rate(rapid.Int64Range(0, int64(funding.RateMax)).Draw(t, "bid"))
		if got, err := jobfile.ParseBid(scheduler.Decimal(int64(bid))); err != nil || got != bid {
			t.Fatal(got, err)
		}
		s := rapid.Int64Range(0, int64(funding.MillisMax)/1000).Draw(t, "seconds")
		for _, text := range []string{
			fmt.Sprint(s), fmt.Sprintf("%ds", s), fmt.Sprintf("%dh%dm%ds", s/3600, s/60%60, s%60),
			fmt.Sprintf("%d-%02d:%02d:%02d", s/86400, s/3600%24, s/60%60, s%60),
		} {
			if got, err := jobfile.ParseDuration(text); err != nil || got != funding.Millis(s*1000) {
				t.Fatal(text, got, err)
			}
		}
	})
}
