package funding

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// Two tasks of one and two units, 600 units of money ahead and 60 in reserve, at a price of 1.
func TestStreamRunsDry(t *testing.T) {
	s := series(t, 0, int64(UnitMicro))
	h := must(StreamHold{Pot: 7, Pool: 1}.Start(1000, s.At(0), 0))
	h = must(h.Start(2000, s.At(10_000), 660*UnitMicro))
	h.Reserve = 60 * UnitMicro
	if got := must(h.Accrued(s.At(20_000))); got != 40*UnitMicro+2 {
		t.Errorf("after 20 s %d have accrued", got)
	}
	end, ok := h.Ends()
	at, _ := s.When(end)
	// 20 for the second task's late start are not owed: 3 a second, and two roundings set aside.
	if !ok || at != 206_666 {
		t.Errorf("the tranche ends at %d, %v", at, ok)
	}
	h.Paused = at
	if end, _ = h.Ends(); must(end.Sub(s.At(at))).Lo == 0 {
		t.Error("while paused the reserve counts too")
	}
	if at, _ := s.When(end); at != 226_666 {
		t.Errorf("the reserve ends at %d", at)
	}
	if left := must(h.Left(s.At(300_000))); left >= 0 {
		t.Errorf("overrun, and yet %d left", left)
	}
}

func TestDearerPriceMovesTheEndNotTheThreshold(t *testing.T) {
	s := series(t, 0, 10)
	h := must(StreamHold{}.Start(1000, s.At(0), 6001))
	before, _ := h.Ends()
	at, _ := s.When(before)
	s = must(s.Set(100_000, 20))
	after, _ := h.Ends()
	later, _ := s.When(after)
	if before != after || at != 600_000 || later != 350_000 {
		t.Errorf("threshold %v, then %v; ends at %d, then at %d", before, after, at, later)
	}
}

func TestStreamWants(t *testing.T) {
	h := must(StreamHold{}.Start(2000, Index{}, 0))
	ahead, reserve, err := h.Want(3, 600_000, 60_000)
	if err != nil || ahead != 3600 || reserve != 360 {
		t.Errorf("%d and %d, %v", ahead, reserve, err)
	}
	if ahead, reserve, err := (StreamHold{}).Want(3, 600_000, 60_000); err != nil || ahead != 0 || reserve != 0 {
		t.Errorf("with no runs: %d and %d, %v", ahead, reserve, err)
	}
	if _, ok := (StreamHold{}).Threshold(1); ok {
		t.Error("with no runs nothing ends")
	}
	if _, _, err := h.Want(-1, 1, 1); !errors.Is(err, ErrRange) {
		t.Errorf("at a negative price: %v", err)
	}
}

func TestStreamRefuses(t *testing.T) {
	h := must(StreamHold{}.Start(1000, Index{Lo: 5}, 0))
	huge := StreamHold{Weight: 1 << 62, Offset: Accrual{Hi: 1<<64 - 1, Lo: 1<<64 - 1}}
	for story, err := range map[string]error{
		"ending what did not start":   func() error { _, err := h.End(1001, Index{}, 0); return err }(),
		"ending more than started":    func() error { _, err := h.End(1000, Index{Lo: 6}, 0); return err }(),
		"ending twice":                func() error { _, err := must(h.End(1000, Index{Lo: 5}, 0)).End(0, Index{}, 0); return err }(),
		"a negative weight":           func() error { _, err := h.Start(-1, Index{}, 0); return err }(),
		"an offset beyond 128 bits":   func() error { _, err := huge.Start(1, Index{Lo: 1}, 0); return err }(),
		"a weight beyond 62 bits":     func() error { _, err := (StreamHold{Weight: 1 << 62}).Start(1, Index{}, 0); return err }(),
		"settling beyond 128 bits":    func() error { _, err := huge.Settle(1); return err }(),
		"accruing beyond 128 bits":    func() error { _, err := huge.Accrued(Index{Hi: 1 << 60}); return err }(),
		"an accrual beyond 64 bits":   func() error { _, err := h.Left(Index{Hi: 1 << 40}); return err }(),
		"a weight times a huge index": func() error { _, err := h.Start(2, Index{Hi: 1 << 63}, 0); return err }(),
	} {
		if !errors.Is(err, ErrRange) {
			t.Errorf("%s: %v; want out of range", story, err)
		}
	}
}

// However runs come, go and are settled on the way, the sum of what each owes on its own is what
// the stream says, within the one micro-unit a run that it sets aside; and at the threshold the
// money is not yet gone, one millisecond later at a price it may be.
func TestStreamIsTheSumOfItsRuns(t *testing.T) {
	type run struct {
		w       Weight
		from    Index
		settled Amount
	}
	rapid.Check(t, func(t *rapid.T) {
		s := genSeries(t)
		at := Millis(0)
		var h StreamHold
		var runs []run
		later := func(t *rapid.T) { at += Millis(rapid.Int64Range(0, 5000).Draw(t, "later")) }
		owed := func(r run) Amount {
			total, err := Owed(r.w, r.from, s.At(at))
			if err != nil {
				t.Fatal(err)
			}
			return total - r.settled
		}
		t.Repeat(map[string]func(*rapid.T){
			"start": func(t *rapid.T) {
				later(t)
				r := run{w: Weight(rapid.Int64Range(1, 4000).Draw(t, "weight")), from: s.At(at)}
				h, runs = must(h.Start(r.w, r.from, 1000)), append(runs, r)
			},
			"settle": func(t *rapid.T) {
				later(t)
				if len(runs) == 0 {
					t.Skip()
				}
				r := &runs[rapid.IntRange(0, len(runs)-1).Draw(t, "run")]
				posted := owed(*r)
				h = must(h.Settle(posted))
				r.settled += posted
			},
			"end": func(t *rapid.T) {
				later(t)
				if len(runs) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(runs)-1).Draw(t, "run")
				h = must(h.End(runs[i].w, runs[i].from, runs[i].settled))
				runs = append(runs[:i], runs[i+1:]...)
			},
			"": func(t *rapid.T) {
				var sum Amount
				for _, r := range runs {
					sum += owed(r)
				}
				accrued := must(h.Accrued(s.At(at)))
				if accrued < sum || accrued > sum+2*Amount(len(runs)) {
					t.Fatalf("%d runs owe %d, the stream says %d", len(runs), sum, accrued)
				}
				if end, ok := h.Threshold(accrued + 50); ok {
					if got := must(h.Accrued(end)); got > accrued+50 {
						t.Fatalf("at the threshold of %d, %d have accrued", accrued+50, got)
					}
					if got := must(h.Accrued(must(end.Add(Index{Lo: 1})))); got <= accrued+50 {
						t.Fatalf("beyond the threshold of %d, only %d have accrued", accrued+50, got)
					}
				}
			},
		})
		if len(runs) == 0 && (h.Weight != 0 || h.Runs != 0 || h.Offset != Accrual{}) {
			t.Fatalf("all have ended, and yet %+v", h)
		}
	})
}
