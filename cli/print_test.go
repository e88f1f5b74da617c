package cli

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

func TestMoneyIsADecimalWithoutTrailingZeros(t *testing.T) {
	for micro, want := range map[int64]string{
		0: "0", 1: "0.000001", -1: "-0.000001", 1_000_000: "1", 1_250_000: "1.25", 997_500_000: "997.5", -2_000_001: "-2.000001",
		math.MaxInt64: "9223372036854.775807", math.MinInt64: "-9223372036854.775808",
	} {
		if got := money(micro); got != want {
			t.Errorf("money(%d) = %s, want %s", micro, got, want)
		}
	}
}

func TestTimesAndSizesAreSaidAsPeopleSayThem(t *testing.T) {
	for ms, want := range map[int64]string{0: "0:00", 999: "0:00", 90_000: "1:30", 3_600_000: "1:00:00", 131_096_000: "1-12:24:56"} {
		if got := span(ms); got != want {
			t.Errorf("span(%d) = %s, want %s", ms, got, want)
		}
	}
	for ms, want := range map[int64]string{0: "0 s", 7: "0.007 s", 1000: "1 s", 10_500: "10.5 s", 100_000: "100 s"} {
		if got := seconds(ms); got != want {
			t.Errorf("seconds(%d) = %s, want %s", ms, got, want)
		}
	}
	for bytes, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 1 << 30: "1 GiB", 25274793984: "23.5 GiB"} {
		if got := size(bytes); got != want {
			t.Errorf("size(%d) = %s, want %s", bytes, got, want)
		}
	}
	if got := cpus(1500) + " " + cpus(2000) + " " + cpus(1); got != "1.5 2 0.001" {
		t.Errorf("cpus: %s", got)
	}
}

func TestClockShowsTheDateOnlyWhereItIsNotToday(t *testing.T) {
	now := time.Now()
	if got := clock(&now); got != now.Format("15:04:05") {
		t.Errorf("today: %q", got)
	}
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.Local)
	if got := clock(&old); got != "2001-02-03 04:05:06" {
		t.Errorf("long ago: %q", got)
	}
	if clock(nil) != "" || clock(&time.Time{}) != "" {
		t.Error("no time prints something")
	}
}

func TestAGridIsPlainInAPipeAndBareWhenQuiet(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out}
	rows := [][]string{{"1", "a long name", ""}, {"12", "b", "x"}}
	a.grid([]string{"JOB", "NAME", "WHY"}, rows)
	want := "JOB  NAME         WHY\n1    a long name\n12   b            x\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	a.quiet = true
	a.grid([]string{"JOB", "NAME", "WHY"}, rows)
	if out.String() != "1\n12\n" {
		t.Errorf("quiet: %q", out.String())
	}
}

func TestFieldsLeaveOutWhatIsEmpty(t *testing.T) {
	var out bytes.Buffer
	(&app{out: &out}).fields("job", "1", "a long empty name", "", "state", "done")
	if out.String() != "job    1\nstate  done\n" {
		t.Errorf("%q", out.String())
	}
}

func TestAReceiptsPointsStandBelowEachOther(t *testing.T) {
	for in, want := range map[string]string{"2": "2.000000", "1.25": "1.250000", "0.000001": "0.000001"} {
		if got := decimals(in); got != want || !strings.Contains(got, ".") {
			t.Errorf("decimals(%s) = %s, want %s", in, got, want)
		}
	}
}
