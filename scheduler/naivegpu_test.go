package scheduler

import (
	"cmp"
	"slices"
)

// naiveCard is one GPU and what is left of it, written down as plainly as can be.
type naiveCard struct {
	Card
	cuts, shares int
	bytes        int64
	whole        bool
}

func naiveCards(n *Node, takes []Take) []*naiveCard {
	var cards []*naiveCard
	for _, row := range n.Cards {
		for range row.Count {
			cards = append(cards, &naiveCard{Card: row})
		}
	}
	for _, t := range takes {
		for _, i := range t.Cards {
			cards[i].take(t.Kind, t.Profile)
		}
	}
	return cards
}

func (c *naiveCard) take(kind GPUKind, profile string) {
	switch kind {
	case GPUWhole:
		c.whole = true
	case GPUSlice:
		for _, p := range c.Profiles {
			if p.Name == profile {
				c.cuts, c.bytes = c.cuts+int(p.Slices), c.bytes+p.Memory
			}
		}
	case GPUShare:
		c.shares++
	}
}

func (c *naiveCard) untouched() bool {
	return !c.Sick && !c.SlicesOnly && !c.whole && c.cuts == 0 && c.shares == 0
}

func naiveIdle(cards []*naiveCard) (n int64) {
	for _, c := range cards {
		if c.untouched() {
			n++
		}
	}
	return n
}

// naiveSold: a card of that model is asked for, and no dearer than what was asked for.
func naiveSold(p *Pool, g GPURequest, model string) bool {
	if g.Model != "" && model != g.Model && !slices.Contains(naiveRuns(model), g.Model) {
		return false
	}
	asked, ok := naiveWeight(p, g)
	g.Model = model
	own, has := naiveWeight(p, g)
	return ok && has && own <= asked
}

// naiveRuns lists every run of a model's parts.
func naiveRuns(model string) (runs []string) {
	parts := []string{""}
	for _, r := range model {
		if r == '-' {
			parts = append(parts, "")
		} else {
			parts[len(parts)-1] += string(r)
		}
	}
	for i := range parts {
		run := ""
		for _, p := range parts[i:] {
			if run != "" {
				run += "-"
			}
			run += p
			runs = append(runs, run)
		}
	}
	return runs
}

func naiveWeight(p *Pool, g GPURequest) (int64, bool) {
	rest := map[GPUKind]string{GPUSlice: g.Profile, GPUShare: "share"}[g.Kind]
	models := naiveRuns(g.Model)
	slices.SortFunc(models, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, m := range append(models, "") {
		name := m + "/" + rest
		switch {
		case m == "":
			name = rest
		case rest == "":
			name = m
		}
		for _, k := range p.Kinds {
			if k.Name == name && name != "" {
				return k.Weight, true
			}
		}
	}
	switch g.Kind {
	case GPUWhole:
		return p.Weights.GPU, true
	case GPUSlice:
		whole, _ := naiveWeight(p, GPURequest{Model: g.Model})
		return (whole*int64(g.Profile[0]-'0') + 6) / 7, true
	}
	return 0, false
}

// naiveChoice picks cards of a node for one task; rank says how well they suit, lower first.
func naiveChoice(cards []*naiveCard, p *Pool, s *Shape) (picked []*naiveCard, fresh int, memory int64) {
	if s.GPU.Kind == GPUWhole {
		return naiveWhole(cards, p, s)
	}
	var best *naiveCard
	var key []int64
	for i, c := range cards {
		if c.Sick || c.whole || !naiveSold(p, s.GPU, c.Model) {
			continue
		}
		left, ok := c.roomFor(s.GPU)
		if !ok {
			continue
		}
		k := []int64{0, c.Memory, left, int64(i)}
		if c.cuts+c.shares == 0 && !c.SlicesOnly {
			k[0], k[2] = 1, naiveIdle(naiveIsland(cards, c))
		}
		if best == nil || slices.Compare(k, key) < 0 {
			best, key = c, k
		}
	}
	if best == nil {
		return nil, 0, 0
	}
	return []*naiveCard{best}, int(key[0]), key[1]
}

func (c *naiveCard) roomFor(g GPURequest) (left int64, ok bool) {
	if g.Kind == GPUShare {
		return int64(c.Shares) - int64(c.shares) - 1, !c.SlicesOnly && c.cuts == 0 && c.shares < int(c.Shares) && c.Memory >= g.Memory
	}
	most := 0
	for _, p := range c.Profiles {
		most = max(most, int(p.Slices))
	}
	for _, p := range c.Profiles {
		if p.Name == g.Profile && c.MIG && c.shares == 0 && p.Memory >= g.Memory && c.bytes+p.Memory <= c.Memory && c.cuts+int(p.Slices) <= most {
			return int64(most - c.cuts - int(p.Slices)), true
		}
	}
	return 0, false
}

// naiveIsland lists the cards that a card reaches, itself included.
func naiveIsland(cards []*naiveCard, of *naiveCard) (island []*naiveCard) {
	for _, c := range cards {
		if c == of || of.Island != 0 && c.Island == of.Island {
			island = append(island, c)
		}
	}
	return island
}

// naiveWhole tries the sorts of cards from the least memory on.
func naiveWhole(cards []*naiveCard, p *Pool, s *Shape) (picked []*naiveCard, fresh int, memory int64) {
	sorts := slices.Clone(cards)
	slices.SortStableFunc(sorts, func(a, b *naiveCard) int {
		return cmp.Or(cmp.Compare(a.Memory, b.Memory), cmp.Compare(a.Model, b.Model))
	})
	for _, sort := range sorts {
		if sort.Memory < s.GPU.Memory || !naiveSold(p, s.GPU, sort.Model) {
			continue
		}
		var free []*naiveCard
		for _, c := range cards {
			if c.untouched() && c.Model == sort.Model && c.Memory == sort.Memory {
				free = append(free, c)
			}
		}
		if got := naiveJoined(free, int(s.Need.GPUs), s.GPU.NVLink); got != nil {
			return got, 0, sort.Memory
		}
	}
	return nil, 0, 0
}

// naiveJoined: an island with enough, of those the smallest, the first of equals; else the largest ones together.
func naiveJoined(free []*naiveCard, n int, linked bool) []*naiveCard {
	order := slices.Clone(free)
	size := func(c *naiveCard) int { return len(naiveIsland(free, c)) }
	first := func(c *naiveCard) int { return slices.Index(free, naiveIsland(free, c)[0]) }
	slices.SortStableFunc(order, func(a, b *naiveCard) int {
		return cmp.Or(cmp.Compare(size(a), size(b)), cmp.Compare(first(a), first(b)))
	})
	for _, c := range order {
		if size(c) >= n {
			return naiveIsland(free, c)[:n]
		}
	}
	if linked || len(free) < n {
		return nil
	}
	slices.SortStableFunc(order, func(a, b *naiveCard) int {
		return cmp.Or(cmp.Compare(size(b), size(a)), cmp.Compare(first(a), first(b)))
	})
	return order[:n]
}
