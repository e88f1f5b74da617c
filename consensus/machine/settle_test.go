package machine

import (
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
	"pgregory.net/rapid"
)

// longLife is the history of one run of days: when prices moved, when it stood still, when it ended.
type longLife struct {
	Stream bool
	Legs   []leg
	End    funding.Millis // after the last leg
}

// leg is a stretch of it: a time with a price, in whose middle it may have stood still.
type leg struct {
	Price  funding.Rate
	Runs   funding.Millis
	Frozen funding.Millis
}

func drawLife(t *rapid.T) longLife {
	legs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) leg {
		l := leg{Price: funding.Rate(rapid.Int64Range(0, 1_999_999).Draw(t, "price")), Runs: funding.Millis(rapid.Int64Range(0, 150_000_000).Draw(t, "runs"))}
		if rapid.Bool().Draw(t, "freezes") {
			l.Frozen = funding.Millis(rapid.Int64Range(1, 90_000_000).Draw(t, "frozen"))
		}
		return l
	}), 1, 8).Draw(t, "legs")
	return longLife{Stream: rapid.Bool().Draw(t, "stream"), Legs: legs, End: funding.Millis(rapid.Int64Range(0, 5000).Draw(t, "end"))}
}

// live plays the history, with or without word on the way, and gives what the run was charged, what
// the operator bore, what was billed and how often it was settled.
func (l longLife) live(t *testing.T, word bool) (charged, overrun funding.Amount, billed funding.Millis, settled int) {
	w := newWorld(t)
	mode := "time=10000h"
	if l.Stream {
		mode = "mode=stream"
	}
	for _, line := range []string{
		"init", "pool default longest=10000h floor=0 low=20s grace=30s kill=5s", "issue alice 100000000", "node n1",
		"submit j1 by=alice pay=90000000 bid=2 " + mode, "place j1 n1", "start j1",
	} {
		w.play(splitWords(line))
	}
	run, id := w.openRun("j1")
	var stopped []Span
	hear := func() {
		if !word {
			return
		}
		alive := Alive{To: w.at, Stopped: stopped}
		if code := w.report(RunReport{Run: run.ID, Alive: &alive}); code != "" {
			t.Fatal(code)
		}
		for _, e := range w.last.Events {
			if e.Kind == EventSettled {
				settled++
			}
		}
	}
	for _, l := range l.Legs {
		w.does(Price{Pool: 1, Price: l.Price}, &PriceAnswer{})
		w.at += l.Runs / 2
		hear()
		if l.Frozen > 0 {
			stopped = append(stopped, Span{From: w.at, To: w.at + l.Frozen})
			w.at += l.Frozen
			hear()
		}
		w.at += l.Runs - l.Runs/2
		hear()
	}
	w.at += l.End
	if code := w.report(RunReport{Run: run.ID, Ended: &End{At: w.at, Stopped: stopped, Reason: scheduler.ReasonExited}}); code != "" {
		t.Fatal(code)
	}
	files, _ := w.m.View().Files(run.ID)
	bill, _ := w.m.View().bills.get(id)
	if bill == nil {
		bill = new(funding.Bill)
	}
	if err := w.m.View().CheckWork(funding.MillisMax); err != nil {
		t.Fatal(err)
	}
	return bill.Usage + bill.Minimum, bill.Overrun, files.Billed, settled
}

// Settled daily or once at the end, a run costs the same to the micro-unit (I11): the whole is
// rounded once.
func TestSettledDailyOrOnceIsTheSame(t *testing.T) {
	often := 0
	rapid.Check(t, func(r *rapid.T) {
		l := drawLife(r)
		charged, overrun, billed, n := l.live(t, true)
		once, over, whole, none := l.live(t, false)
		if often += n; none != 0 {
			r.Fatal("settled on the way, and nobody said that it ran")
		}
		if charged+overrun != once+over || billed != whole {
			r.Fatalf("settled %d times it came to %d and %d of overrun for %d ms; once: %d and %d for %d ms", n, charged, overrun, billed, once, over, whole)
		}
		if !l.Stream && charged != once {
			r.Fatalf("settled %d times it was charged %d, once %d", n, charged, once)
		}
	})
	if often < 20 && !testing.Short() { // a short run draws too few lives
		t.Errorf("%d settlements in all show nothing", often)
	}
}
