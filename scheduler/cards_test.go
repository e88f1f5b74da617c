package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// a100 has the profiles that NVIDIA's table gives the card with 80 GB.
func a100(count, island int32) Card {
	return Card{Count: count, Model: "a100-sxm4-80gb", Memory: 80 * GiB, Island: island, MIG: true, Profiles: []Profile{
		{"7g.80gb", 7, 79 * GiB, 1}, {"4g.40gb", 4, 39 * GiB, 1}, {"3g.40gb", 3, 39 * GiB, 2}, {"1g.20gb", 1, 19 * GiB, 4}, {"1g.10gb", 1, 9 * GiB, 7},
	}}
}

func pcie(count int32) Card {
	return Card{Count: count, Model: "a100-pcie-40gb", Memory: 40 * GiB, Shares: 3}
}

func TestWhichCardsATaskGets(t *testing.T) {
	stories := []struct {
		name  string
		cards []Card
		asks  string // kinds with their number, one task after the other; + asks for NVLink
		gets  string // the cards of each, counted from zero; - none
	}{
		{"alone before a pair", []Card{a100(2, 1), a100(1, 0)}, "1 1 1 1", "2 0 1 -"},
		{"a pair for two", []Card{a100(1, 0), a100(1, 0), a100(2, 1)}, "2 2 1", "2,3 0,1 -"},
		{"the smallest island that has enough", []Card{a100(4, 1), a100(2, 2), a100(3, 3)}, "2 3 4", "4,5 6,7,8 0,1,2,3"},
		{"several islands where none has enough, the largest first", []Card{a100(2, 1), a100(3, 2)}, "4", "0,2,3,4"},
		{"but not with NVLink", []Card{a100(2, 1), a100(3, 2)}, "4+ 3+ 2+ 1+", "- 2,3,4 0,1 -"},
		{"NVLink of one card", []Card{pcie(1)}, "1+", "0"},
		{"those that stand alone reach nobody", []Card{a100(4, 0)}, "2+ 2", "- 0,1"},
		{"the model with the least memory", []Card{a100(1, 0), pcie(1)}, "1 1 1", "1 0 -"},
		{"all of one model", []Card{a100(1, 0), pcie(1)}, "2", "-"},
		{"the model asked for, by a part of its name", []Card{pcie(1), a100(1, 0)}, "80gb:1 sxm4-80gb:1 a100-pcie:1 a10:1", "1 - 0 -"},
		{"a sliced card before a whole one", []Card{a100(2, 1)}, "1g.10gb:1 1g.10gb:1 1 1", "0 0 1 -"},
		{"the fullest sliced card that has room", []Card{a100(1, 0), a100(1, 0)}, "4g.40gb:1 7g.80gb:1 1g.10gb:1 3g.40gb:1", "0 1 0 -"},
		{"which of two", []Card{a100(2, 0)}, "3g.40gb:1 7g.80gb:1", "0 1"},
		{"seven parts of compute", []Card{a100(1, 0)}, "4g.40gb:1 3g.40gb:1 1g.10gb:1", "0 0 -"},
		{"and no more memory than there is", []Card{a100(1, 0)}, "3g.40gb:1 3g.40gb:1 1g.10gb:1", "0 0 -"},
		{"four with a quarter of it each", []Card{a100(1, 0)}, "1g.20gb:1 1g.20gb:1 1g.20gb:1 1g.20gb:1 1g.20gb:1", "0 0 0 0 -"},
		{"a first slice leaves pairs whole", []Card{a100(2, 1), a100(1, 2)}, "1g.10gb:1", "2"},
		{"shares of a card until it has no more", []Card{pcie(2)}, "share:1 share:1 share:1 share:1 1", "0 0 0 1 -"},
		{"no share of what is not shared", []Card{a100(1, 0)}, "share:1", "-"},
		{"no slice of what is not cut", []Card{pcie(1)}, "1g.10gb:1", "-"},
		{"no part of a whole card", []Card{pcie(1)}, "1 share:1", "0 -"},
		{"those that are cut for good, and never whole", []Card{a100(1, 0), {Count: 1, Model: "x", MIG: true, SlicesOnly: true, Shares: 2, Memory: 99 * GiB,
			Profiles: []Profile{{"1g.10gb", 1, GiB, 2}, {"2g.20gb", 2, GiB, 1}}}}, "1g.10gb:1 1g.10gb:1 1g.10gb:1 1 x:1 share:1", "1 1 0 - - -"},
		{"nothing of a sick one", []Card{{Count: 2, Model: "l40", Memory: GiB, Sick: true, Shares: 2}, pcie(1)}, "1 share:1 1", "2 - -"},
	}
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			n := &Node{Cards: s.cards}
			p := &Pool{Weights: Weights{GPU: 1000}, Kinds: []KindWeight{{"share", 500}}}
			var got []string
			for i, ask := range strings.Fields(s.asks) {
				shape := shapeOf(t, ask)
				take, ok := TakeCards(p, n, shape, RunID(i+1))
				if !ok {
					got = append(got, "-")
					continue
				}
				n.Takes = append(n.Takes, take)
				got = append(got, strings.ReplaceAll(strings.Trim(fmt.Sprint(take.Cards), "[]"), " ", ","))
				if err := n.CheckCards(); err != nil {
					t.Error(err)
				}
			}
			if all := strings.Join(got, " "); all != s.gets {
				t.Errorf("%s: got %s, want %s", s.asks, all, s.gets)
			}
		})
	}
}

func shapeOf(t *testing.T, ask string) *Shape {
	t.Helper()
	kind, count, named := strings.Cut(ask, ":")
	if !named {
		kind, count = "", ask
	}
	g, err := ParseGPU(kind)
	if err != nil {
		t.Fatal(err)
	}
	count, g.NVLink = strings.CutSuffix(count, "+")
	s := &Shape{GPU: g}
	if g.Kind == GPUWhole {
		_, err = fmt.Sscan(count, &s.Need.GPUs)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What runs on a node goes on when its cards have changed, on those that there are.
func TestCardsAreDealtAgain(t *testing.T) {
	n := &Node{Cards: []Card{a100(4, 1)}}
	shapes := map[RunID]*Shape{1: shapeOf(t, "2"), 2: shapeOf(t, "1g.10gb:1"), 3: shapeOf(t, "1")}
	for run := RunID(1); run <= 3; run++ {
		take, ok := TakeCards(&Pool{}, n, shapes[run], run)
		if !ok {
			t.Fatalf("run %d found no room", run)
		}
		n.Takes = append(n.Takes, take)
	}
	n.Cards = []Card{{Count: 1, Model: "a100-sxm4-80gb", Memory: 80 * GiB, Sick: true}, a100(3, 1)}
	n.DealAgain(func(r RunID) *Shape { return shapes[r] })
	want := [][]int32{{1, 2}, {3}, nil}
	for i, take := range n.Takes {
		if !slices.Equal(take.Cards, want[i]) {
			t.Errorf("run %d has %v, want %v", take.Run, take.Cards, want[i])
		}
	}
	if err := n.CheckCards(); err != nil {
		t.Error(err)
	}
	if free := n.Free().GPUs; free != 0 {
		t.Errorf("%d GPUs are free", free)
	}
}

// Each way of selling a card twice is found.
func TestCardsSoldTwiceAreFound(t *testing.T) {
	cards := []Card{a100(1, 0), pcie(1), {Count: 1, Model: "t4", Sick: true}}
	whole := func(card int32) Take { return Take{Cards: []int32{card}} }
	slice := func(card int32, profile string) Take {
		return Take{Cards: []int32{card}, Kind: GPUSlice, Profile: profile}
	}
	share := func(card int32) Take { return Take{Cards: []int32{card}, Kind: GPUShare} }
	for name, takes := range map[string][]Take{
		"a whole one twice":              {whole(0), whole(0)},
		"a slice of a whole one":         {whole(0), slice(0, "1g.10gb")},
		"a whole one that is sliced":     {slice(0, "1g.10gb"), whole(0)},
		"too much compute":               {slice(0, "4g.40gb"), slice(0, "3g.40gb"), slice(0, "1g.10gb")},
		"too much memory":                {slice(0, "3g.40gb"), slice(0, "3g.40gb"), slice(0, "1g.10gb")},
		"a profile that it has not":      {slice(1, "1g.10gb")},
		"more shares than there are":     {share(1), share(1), share(1), share(1)},
		"a whole one with shares":        {share(1), whole(1)},
		"a sick one":                     {whole(2)},
		"one that there is not":          {whole(3)},
		"a share of a card not sold so":  {share(0)},
		"a slice of a card with a share": {{Cards: []int32{1}, Kind: GPUShare}, slice(1, "1g.10gb")},
	} {
		n := &Node{Cards: cards, Takes: takes}
		if n.CheckCards() == nil {
			t.Errorf("%s is not found", name)
		}
	}
	n := &Node{Cards: cards, Takes: []Take{slice(0, "4g.40gb"), slice(0, "3g.40gb"), share(1), share(1), share(1), {}}}
	if err := n.CheckCards(); err != nil {
		t.Error(err)
	}
}
