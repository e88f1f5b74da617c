package sim

import (
	"strings"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// kinds is the price list of a pool with GPUs.
func kinds() []scheduler.KindWeight {
	return []scheduler.KindWeight{{Name: "a100", Weight: 700}, {Name: "a100/1g.10gb", Weight: 90}, {Name: "l40/share", Weight: 150}}
}

// someCards is what a machine has of GPUs.
func (w *world) someCards() (cards []scheduler.Card, whole int64) {
	for range between(w, 1, 3) {
		c := scheduler.Card{Count: between[int32](w, 1, 3), Island: between[int32](w, 0, 2), Model: "l40", Memory: 48 << 30, Shares: 2}
		if w.chance(60) {
			c.Model, c.Memory, c.Shares, c.MIG = "a100-sxm4-80gb", 80<<30, 0, true
			c.Profiles = []scheduler.Profile{
				{Name: "7g.80gb", Slices: 7, Memory: 79 << 30, Max: 1}, {Name: "3g.40gb", Slices: 3, Memory: 39 << 30, Max: 2}, {Name: "2g.10gb", Slices: 2, Memory: 9 << 30, Max: 3}, {Name: "1g.10gb", Slices: 1, Memory: 9 << 30, Max: 7},
			}
		}
		cards = append(cards, c)
		whole += int64(c.Count)
	}
	return cards, whole
}

// askGPUs has a job ask for GPUs of some kind.
func (w *world) askGPUs(entry *machine.Submit) {
	switch w.dice.IntN(5) {
	case 0, 1:
		entry.GPU = scheduler.GPURequest{Kind: scheduler.GPUSlice, Model: "a100", Profile: []string{"1g.10gb", "2g.10gb", "3g.40gb", "3g.40gb"}[w.dice.IntN(4)]}
		entry.Need = scheduler.Resources{CPUMilli: 100} // so that it is the card that fills up
	case 2:
		entry.GPU = scheduler.GPURequest{Kind: scheduler.GPUShare, Model: "l40"}
	default:
		entry.GPU.Model = []string{"", "a100", "80gb", "l40"}[w.dice.IntN(4)]
		entry.Need.GPUs = between[int64](w, 1, 2)
		entry.GPU.NVLink = w.chance(30)
	}
}

// gpu is one card as the machine that has it knows it.
type gpu struct {
	scheduler.Card
	whole        bool
	cuts, shares int32
	bytes        int64
}

// gpusOf lists a machine's cards, one by one.
func gpusOf(n *node) (all []*gpu) {
	for _, row := range n.facts.Cards {
		for range row.Count {
			all = append(all, &gpu{Card: row})
		}
	}
	return all
}

// take books what a job has of a card, and says what is wrong with that.
func (g *gpu) take(j *job) (wrong string) {
	free := !g.whole && g.cuts == 0 && g.shares == 0
	switch {
	case j.gpu.Model != "" && !strings.Contains("-"+g.Model+"-", "-"+j.gpu.Model+"-"):
		return "is no " + j.gpu.Model
	case j.gpu.Memory > g.Memory:
		return "is too small"
	case g.Sick:
		return "is sick"
	}
	switch j.gpu.Kind {
	case scheduler.GPUWhole:
		g.whole = true
		if !free {
			return "is sold whole, and not free"
		}
	case scheduler.GPUShare:
		g.shares++
		if g.whole || g.cuts > 0 || g.shares > g.Shares {
			return "has too many shares sold"
		}
	case scheduler.GPUSlice:
		cuts, bytes := int32(0), int64(0)
		for _, p := range g.Profiles {
			if p.Name == j.gpu.Profile {
				cuts, bytes = p.Slices, p.Memory
			}
		}
		g.cuts, g.bytes = g.cuts+cuts, g.bytes+bytes
		switch {
		case cuts == 0 || g.whole || g.shares > 0:
			return "cannot be cut into " + j.gpu.Profile
		case g.cuts > 7:
			return "has more than seven slices of compute sold"
		case g.bytes > g.Memory:
			return "has more memory sold than it has"
		}
	}
	return ""
}

// checkCards says that no card is sold twice at once, and that each run has what it asked for: by the machines' own word on
// their cards, and the users' on what they asked for.
func (w *world) checkCards() {
	for _, n := range w.nodes {
		record, ok := w.view.Node(n.id)
		if !ok || n.lost || len(n.facts.Cards) == 0 {
			continue
		}
		all, had := gpusOf(n), map[runID][]int32{} // looked up, never iterated
		for _, t := range record.Takes {
			had[t.Run] = append(had[t.Run], t.Cards...)
		}
		for _, r := range w.runs {
			if r.node != n.id || !r.job.gpu.Asks(r.job.need) {
				continue
			}
			cards := had[r.id]
			if len(cards) == 0 && r.placed <= n.changed {
				continue // what it had has changed under it
			}
			if want := max(1, int(r.job.need.GPUs)); len(cards) != want {
				w.fail("cards", "run %d asks for %d GPUs of node %d and has %d", r.id, want, n.id, len(cards))
			}
			for _, i := range cards {
				if int(i) >= len(all) {
					w.fail("cards", "run %d has GPU %d of node %d, which has %d", r.id, i, n.id, len(all))
				} else if wrong := all[i].take(r.job); wrong != "" {
					w.fail("cards", "run %d has GPU %d of node %d, which %s", r.id, i, n.id, wrong)
				} else if first := all[cards[0]]; r.job.gpu.NVLink && len(cards) > 1 && (all[i].Island == 0 || all[i].Island != first.Island) || all[i].Model != first.Model {
					w.fail("cards", "run %d has GPU %d of node %d, which is not joined with the first, or no such model", r.id, i, n.id)
				}
			}
		}
	}
}

// allocate is what a machine's provider does: it gives a run cards of its own choice, or says that it has none.
func (w *world) allocate(r *run) bool {
	n := w.nodeOf(r.node)
	if !r.job.gpu.Asks(r.job.need) || n == nil || len(n.facts.Cards) == 0 {
		return true
	}
	if w.chance(5) {
		return false // somebody who did not ask uses it
	}
	all := gpusOf(n)
	for _, other := range w.runs {
		if other.node == n.id {
			for _, i := range other.gpus {
				all[i].take(other.job)
			}
		}
	}
	from := w.dice.IntN(len(all))
	for k := range all {
		var got []int
		first := all[(from+k)%len(all)]
		for m := range all {
			i := (from + k + m) % len(all)
			joined := !r.job.gpu.NVLink || m == 0 || first.Island != 0 && all[i].Island == first.Island
			if probe := *all[i]; joined && probe.Model == first.Model && probe.take(r.job) == "" && len(got) < max(1, int(r.job.need.GPUs)) {
				got = append(got, i)
			}
		}
		if len(got) == max(1, int(r.job.need.GPUs)) {
			r.gpus = got
			return true
		}
	}
	return false
}

func (w *world) nodeOf(id scheduler.NodeID) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// noRoom is the end of a run whose machine had no GPU for it.
func noRoom(at funding.Millis) *machine.End {
	return &machine.End{At: at, Reason: scheduler.ReasonNoRoom}
}

// ail lets a row of a machine's cards fall sick, or get well; what ran there ends by our fault.
func (w *world) ail(n *node) {
	if len(n.facts.Cards) == 0 || n.lost {
		return
	}
	w.now = max(w.now, w.view.At())
	cards := append([]scheduler.Card(nil), n.facts.Cards...)
	row := w.dice.IntN(len(cards))
	cards[row].Sick = !cards[row].Sick
	cards[row].Reason = map[bool]string{true: "XID 79"}[cards[row].Sick]
	n.facts.Cards, n.facts.Has.GPUs, n.changed = cards, 0, w.now
	first := 0
	for i, c := range cards {
		if !c.Sick {
			n.facts.Has.GPUs += int64(c.Count)
		}
		if i < row {
			first += int(c.Count)
		}
	}
	for _, r := range w.runs {
		for _, i := range r.gpus {
			if r.node == n.id && i >= first && i < first+int(cards[row].Count) && cards[row].Sick && r.over == nil && r.began != 0 {
				r.over = &machine.End{At: max(w.now, r.began), Reason: scheduler.ReasonFault, Fault: true}
			}
		}
	}
	w.mayRefuse(w.propose(machine.NodeUpdate{Node: n.id, Facts: n.facts}))
}
