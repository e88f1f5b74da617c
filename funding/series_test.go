package funding

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func series(t interface{ Fatal(...any) }, points ...int64) Series {
	var s Series
	for i := 0; i < len(points); i += 2 {
		var err error
		if s, err = s.Set(Millis(points[i]), Rate(points[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestIndexFollowsThePrice(t *testing.T) {
	s := series(t, 1000, 10, 3000, 20, 4000, 0, 6000, 5)
	for _, c := range []struct {
		at    Millis
		index uint64
		price Rate
	}{
		{0, 0, 0}, {1000, 0, 10}, {2000, 10_000, 10}, {3000, 20_000, 20}, {3500, 30_000, 20},
		{4000, 40_000, 0}, {5999, 40_000, 0}, {6000, 40_000, 5}, {7000, 45_000, 5},
	} {
		if got := s.At(c.at); got != (Index{Lo: c.index}) {
			t.Errorf("index at %d is %v; want %d", c.at, got, c.index)
		}
		if got := s.PriceAt(c.at); got != c.price {
			t.Errorf("price at %d is %d; want %d", c.at, got, c.price)
		}
	}
	if got := (Series{}).At(5); got != (Index{}) {
		t.Errorf("without a price the index is %v", got)
	}
}

func TestPriceIsNotRewritten(t *testing.T) {
	s := series(t, 1000, 10)
	if _, err := s.Set(999, 5); !errors.Is(err, ErrRange) {
		t.Errorf("a price in the past: %v", err)
	}
	if _, err := s.Set(2000, -1); !errors.Is(err, ErrRange) {
		t.Errorf("a negative price: %v", err)
	}
	if same, err := s.Set(2000, 10); err != nil || len(same.Points) != 1 {
		t.Errorf("the same price is no change: %v, %v", same, err)
	}
	twice := series(t, 1000, 10, 2000, 20, 2000, 30)
	if len(twice.Points) != 2 || twice.PriceAt(2000) != 30 {
		t.Errorf("two prices at one moment: %v", twice)
	}
}

func TestSeriesIsImmutable(t *testing.T) {
	s := series(t, 1000, 10, 2000, 20)
	before := slices.Clone(s.Points)
	a, _ := s.Set(3000, 1)
	b, _ := s.Set(3000, 2)
	c, _ := s.Set(2000, 7)
	if a.PriceAt(3000) != 1 || b.PriceAt(3000) != 2 || c.PriceAt(2000) != 7 || !slices.Equal(before, s.Points) {
		t.Errorf("series made of one another share points: %v %v %v %v", a, b, c, s)
	}
}

func TestWhenMoneyEnds(t *testing.T) {
	s := series(t, 1000, 10, 3000, 3)
	for _, c := range []struct {
		index uint64
		at    Millis
	}{{0, 1000}, {5000, 1500}, {5009, 1500}, {20_000, 3000}, {20_002, 3000}, {20_003, 3001}, {20_010, 3003}} {
		if at, ok := s.When(Index{Lo: c.index}); !ok || at != c.at {
			t.Errorf("the index comes to %d at %d, %v; want %d", c.index, at, ok, c.at)
		}
	}
	if _, ok := (Series{}).When(Index{}); ok {
		t.Error("without a price money has no end")
	}
	if _, ok := series(t, 0, 10, 100, 0).When(Index{Lo: 5000}); ok {
		t.Error("at a price of nothing money has no end")
	}
	if _, ok := s.When(Index{Hi: 1}); ok {
		t.Error("an end after more than a century is none")
	}
}

func genSeries(t *rapid.T) Series {
	var s Series
	at := Millis(0)
	for range rapid.IntRange(1, 12).Draw(t, "changes") {
		s, _ = s.Set(at, Rate(rapid.Int64Range(0, 50).Draw(t, "price")))
		at += Millis(rapid.Int64Range(0, 5000).Draw(t, "after"))
	}
	return s
}

// When is the exact inverse of At: not passed at that millisecond, passed at the next.
func TestWhenIsTheLastMillisecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genSeries(t)
		i := Index{Lo: rapid.Uint64Range(0, 2_000_000).Draw(t, "index")}
		at, ok := s.When(i)
		if !ok {
			return
		}
		if s.At(at).Cmp(i) > 0 || s.At(at+1).Cmp(i) <= 0 {
			t.Fatalf("%v is passed not after %d: %v, %v", i, at, s.At(at), s.At(at+1))
		}
	})
}

// Forgetting old prices changes no index from that moment on.
func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genSeries(t)
		before := Millis(rapid.Int64Range(0, 60_000).Draw(t, "before"))
		pruned := s.Prune(before)
		at := before + Millis(rapid.Int64Range(0, 60_000).Draw(t, "at"))
		if pruned.At(at) != s.At(at) || pruned.PriceAt(at) != s.PriceAt(at) {
			t.Fatalf("at %d: %v instead of %v", at, pruned.At(at), s.At(at))
		}
		if len(pruned.Points) > 1 && pruned.Points[1].At <= before {
			t.Fatalf("%v still holds what lies before %d", pruned, before)
		}
	})
}

// Settling often or once gives the same total (I11), whatever the price did.
func TestSettlementScheduleDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genSeries(t)
		w := Weight(rapid.Int64Range(1, 5000).Draw(t, "weight"))
		from := Millis(rapid.Int64Range(0, 20_000).Draw(t, "from"))
		to := from + Millis(rapid.Int64Range(0, 60_000).Draw(t, "length"))
		once, err := Owed(w, s.At(from), s.At(to))
		if err != nil {
			t.Fatal(err)
		}
		var settled Amount
		for at := from; at < to; {
			at = min(to, at+Millis(rapid.Int64Range(1, 20_000).Draw(t, "step")))
			total, err := Owed(w, s.At(from), s.At(at))
			if err != nil {
				t.Fatal(err)
			}
			settled += total - settled
		}
		if to > from && settled != once {
			t.Fatalf("settled %d in steps, %d at once", settled, once)
		}
	})
}
