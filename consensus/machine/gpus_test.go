package machine

import (
	"errors"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// cardsSold is a machine with two whole GPUs sold, and a slice of a third.
func cardsSold(t *testing.T) *world {
	w := newWorld(t)
	for _, line := range []string{
		"init", "issue alice 10000", "pool default gpu=1000 kinds=a100/1g.10gb:500",
		"node n1 cards=a100-sxm4-80gb:80:4@1",
		"submit j1 by=alice pay=500 time=60s gpus=a100:2",
		"submit j2 by=alice pay=500 time=60s gpus=a100/1g.10gb:1",
		"placeall",
	} {
		w.play(strings.Fields(line))
	}
	return w
}

// No card is sold twice: by whole GPUs, compute, memory; and each run that asked for some has them.
func TestCardsSoldTwiceBite(t *testing.T) {
	for story, plant := range map[string]func(n *scheduler.Node){
		"a card that two runs have whole": func(n *scheduler.Node) {
			n.Takes = []scheduler.Take{{Run: 1, Cards: []int32{0, 0}}, n.Takes[1]}
		},
		"a slice of a card that is sold whole": func(n *scheduler.Node) {
			n.Takes = []scheduler.Take{n.Takes[0], {Run: 2, Cards: []int32{0}, Kind: scheduler.GPUSlice, Profile: "1g.10gb"}}
		},
		"compute that the card has not": func(n *scheduler.Node) { cut(n, func(p *scheduler.Profile) { p.Slices = 8 }) },
		"memory that the card has not":  func(n *scheduler.Node) { cut(n, func(p *scheduler.Profile) { p.Memory = 81 << 30 }) },
		"a run without its GPUs":        func(n *scheduler.Node) { n.Takes = n.Takes[:1] },
		"one of the two that it has":    func(n *scheduler.Node) { n.Takes = []scheduler.Take{{Run: 1, Cards: []int32{0}}, n.Takes[1]} },
		"GPUs of nobody": func(n *scheduler.Node) {
			n.Takes = append(n.Takes[:2:2], scheduler.Take{Run: 3, Cards: []int32{3}})
		},
	} {
		w := cardsSold(t)
		if err := w.m.View().CheckWork(1000); err != nil {
			t.Fatalf("before any fault: %v", err)
		}
		node := *w.m.state.nodes.must(1)
		plant(&node)
		w.m.state.nodes.put(1, &node)
		w.m.state.nodes.merge()
		var v *funding.Violation
		if err := w.m.state.freeze().CheckWork(1000); !errors.As(err, &v) || v.Invariant != "I8" {
			t.Errorf("%s: %v", story, err)
		}
	}
}

// cut changes the last profile of a node's first cards, with the one before it as the largest.
func cut(n *scheduler.Node, change func(*scheduler.Profile)) {
	card := n.Cards[0]
	card.Profiles = []scheduler.Profile{card.Profiles[2]}
	change(&card.Profiles[0])
	if card.Profiles[0].Slices > 7 {
		n.Takes = append(n.Takes[:1:1], scheduler.Take{Run: 2, Cards: []int32{2, 2}, Kind: scheduler.GPUSlice, Profile: "1g.10gb"})
	}
	n.Cards = []scheduler.Card{card}
}

// What is refused too often for too long is not remembered without bound, and the first to be tried again is first.
func TestRefusedShapesAreBounded(t *testing.T) {
	var n scheduler.Node
	for i := range 3 * refusedMax {
		refuseShape(&n, scheduler.ShapeID(i%(2*refusedMax)), funding.Millis(i))
	}
	if len(n.Refused) != refusedMax {
		t.Fatalf("%d are remembered", len(n.Refused))
	}
	for i := 1; i < len(n.Refused); i++ {
		if n.Refused[i].Until <= n.Refused[i-1].Until {
			t.Fatalf("%+v", n.Refused)
		}
	}
}

// A machine may say what it likes of its cards and of what tasks used, within bounds.
func TestCardsAndUsageThatCannotBe(t *testing.T) {
	good := scheduler.Card{Count: 1, Model: "a100", Memory: 1 << 30}
	for name, spoil := range map[string]func(*scheduler.Card){
		"none":               func(c *scheduler.Card) { c.Count = 0 },
		"no model":           func(c *scheduler.Card) { c.Model = "" },
		"capitals":           func(c *scheduler.Card) { c.Model = "A100" },
		"a kind for a model": func(c *scheduler.Card) { c.Model = "share" },
		"negative memory":    func(c *scheduler.Card) { c.Memory = -1 },
		"too many":           func(c *scheduler.Card) { c.Count = int32(scheduler.GPUsMax) + 1 },
		"a slice of nothing": func(c *scheduler.Card) { c.Profiles = []scheduler.Profile{{Name: "1g.10gb"}} },
		"an odd slice":       func(c *scheduler.Card) { c.Profiles = []scheduler.Profile{{Name: "big", Slices: 1}} },
		"a long reason":      func(c *scheduler.Card) { c.Reason = strings.Repeat("x", factBytesMax+1) },
	} {
		bad := good
		spoil(&bad)
		if (NodeFacts{Cards: []scheduler.Card{bad}}).check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := (NodeFacts{Cards: []scheduler.Card{good}}).check(); err != nil {
		t.Error(err)
	}
	for _, u := range []scheduler.GPUUsage{
		{Millijoules: -1}, {Utilisation: 1001}, {Utilisation: -2}, {PeakBytes: -1}, {For: -1}, {Processes: -1}, {Basis: strings.Repeat("x", 200)},
		{Devices: make([]string, scheduler.GPUDevicesMax+1)}, {Devices: []string{strings.Repeat("x", 200)}},
	} {
		if endPossible(&End{At: 5, Reason: scheduler.ReasonExited, GPU: &u}, 1, 9) {
			t.Errorf("%+v is taken", u)
		}
	}
}
