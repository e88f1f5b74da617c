package scheduler

import (
	"math/rand/v2"
	"testing"

	"github.com/coinop/coinop/funding"
)

// cards is what a random machine has of GPUs: small ones and large ones, some joined, some sick.
func (h *history) cards() (cards []Card) {
	for range h.int(1, 3, "rows") {
		c := []Card{
			{Model: "a100-sxm4-80gb", Memory: 80 * GiB, MIG: true, Profiles: []Profile{{"7g.80gb", 7, 80 * GiB, 1}, {"3g.40gb", 3, 40 * GiB, 2}, {"1g.10gb", 1, 10 * GiB, 7}}},
			{Model: "a100-pcie-40gb", Memory: 40 * GiB, MIG: true, Profiles: []Profile{{"3g.20gb", 3, 20 * GiB, 2}, {"1g.10gb", 1, 10 * GiB, 4}}, Shares: 2},
			{Model: "l40", Memory: 48 * GiB, Shares: 3},
			{Model: "t4", Memory: 16 * GiB},
		}[h.int(0, 3, "model")]
		c.Count, c.Island = int32(h.int(1, 3, "count")), int32(h.int(0, 2, "island"))
		if h.int(0, 4, "sick") == 0 {
			c.Sick, c.Reason = true, "XID 79"
		}
		c.SlicesOnly = c.MIG && h.int(0, 3, "slices only") == 0
		cards = append(cards, c)
	}
	return cards
}

// takes is something that may be taken of a node's GPUs.
func (h *history) takes(n *Node) (takes []Take) {
	for i, c := range naiveCards(n, nil) {
		if c.Sick {
			continue
		}
		cards := []int32{int32(i)}
		taken := h.int(0, 3, "taken")
		if c.SlicesOnly {
			taken = 1 + 2*(taken%2)
		}
		switch taken {
		case 0:
			takes = append(takes, Take{Run: RunID(i), Cards: cards})
		case 1:
			for _, p := range c.Profiles[min(1, len(c.Profiles)):] {
				takes = append(takes, Take{Run: RunID(i), Cards: cards, Kind: GPUSlice, Profile: p.Name})
			}
		case 2:
			if c.Shares > 0 {
				takes = append(takes, Take{Run: RunID(i), Cards: cards, Kind: GPUShare})
			}
		}
	}
	return takes
}

// gpuRequest is something that a task may ask of GPUs.
func (h *history) gpuRequest(need *Resources) GPURequest {
	need.GPUs = 0
	model := []string{"", "a100", "80gb", "l40", "a100-pcie-40gb", "h100"}[h.int(0, 5, "asked model")]
	switch h.int(0, 3, "asked kind") {
	case 0:
		return GPURequest{Kind: GPUSlice, Model: model, Profile: []string{"1g.10gb", "3g.40gb", "3g.20gb"}[h.int(0, 2, "profile")]}
	case 1:
		return GPURequest{Kind: GPUShare, Model: model, Memory: 20 * GiB * h.int(0, 2, "memory of each")}
	}
	need.GPUs = h.int(1, 3, "how many")
	return GPURequest{Model: model, Memory: 20 * GiB * h.int(0, 3, "memory of each"), NVLink: h.int(0, 2, "nvlink") == 0}
}

// gpuWorld is machines full of cards, and more work for them than they hold.
func gpuWorld(seed uint64) *history {
	h := &history{x: NewIndex(), dice: rand.New(rand.NewPCG(seed, 7))}
	h.changePool()
	for range h.int(2, 6, "shapes") {
		s := &Shape{ID: ShapeID(len(h.w.shapes) + 1), Pool: 1, Need: Resources{CPUMilli: 100 * h.int(0, 2, "cpu")}, Driver: "process", Nodes: 1}
		if s.GPU = h.gpuRequest(&s.Need); h.int(0, 6, "none") == 0 {
			s.GPU, s.Need.GPUs = GPURequest{}, 0
		}
		h.w.shapes = append(h.w.shapes, s)
		h.x.ShapeAdded(s)
	}
	for i := range h.int(1, 5, "nodes") {
		n := &Node{ID: NodeID(i + 1), Pool: 1, Has: Resources{CPUMilli: 1000 + 500*h.int(0, 1, "cpu"), GPUs: h.int(0, 3, "gpus")}, Drivers: []string{"process"}, State: NodeUp}
		if h.int(0, 5, "cards") > 0 {
			n.Cards = h.cards()
			n.Has.GPUs = naiveIdle(naiveCards(n, nil))
			n.Takes = h.takes(n)
		}
		if h.int(0, 9, "refused") == 0 {
			n.Refused = []RefusedShape{{Shape: 1}}
		}
		h.w.nodes = append(h.w.nodes, n)
		h.x.NodeChanged(nil, n)
	}
	for i := range h.int(1, 12, "jobs") {
		tasks := int32(h.int(1, 4, "tasks"))
		j := &Job{ID: JobID(i + 1), Pot: funding.PotID(i + 1), Pool: 1, Shape: ShapeID(h.int(1, int64(len(h.w.shapes)), "shape")),
			Bid: funding.Rate(4 + h.int(0, 5, "bid")), Tasks: TaskRange{0, tasks - 1}, Slots: tasks, State: JobQueued}
		if h.int(0, 5, "faults") == 0 {
			j.Faults = []NodeID{1}
		}
		h.w.jobs = append(h.w.jobs, j)
		h.x.JobChanged(nil, j)
	}
	h.w.runs = append(h.w.runs, &Run{ID: 1, Job: 99, Pool: 1, Bid: 9, State: RunRunning})
	h.x.RunChanged(nil, h.w.runs[0])
	return h
}

func TestIndexAgreesWithTheNaiveRulesOnGPUs(t *testing.T) {
	placed := map[GPUKind]int{}
	for seed := range uint64(250) {
		h := gpuWorld(seed)
		for range 3 {
			for _, x := range []*Index{h.x, h.w.rebuilt()} {
				if d := disagreement(&h.w, x, int(h.int(0, 5, "limit"))); d != "" {
					t.Fatalf("seed %d: %s", seed, d)
				}
			}
			for _, d := range Place(h.x, 0, 0) {
				if s := h.w.shape(h.w.job(d.Job).Shape); s.GPU.Asks(s.Need) {
					placed[s.GPU.Kind]++
				}
			}
			for _, s := range h.w.shapes {
				h.checkRoom(t, seed, s)
			}
			old := h.w.nodes[0]
			n := *old
			if n.Takes = h.takes(&n); h.int(0, 2, "other cards") == 0 {
				n.Cards, n.Takes = h.cards(), nil
				n.Has.GPUs = naiveIdle(naiveCards(&n, nil))
			}
			h.w.nodes[0] = &n
			h.x.NodeChanged(old, &n)
			if h.int(0, 3, "pool") == 0 {
				p := *h.w.pools[0]
				p.Kinds = []KindWeight{{"a100", 300 * h.int(0, 2, "weight")}}
				h.x.PoolChanged(h.w.pools[0], &p)
				h.w.pools[0] = &p
			}
		}
	}
	for kind := GPUWhole; kind <= GPUShare; kind++ {
		if placed[kind] < 100 {
			t.Errorf("%d of kind %s were placed: such worlds show nothing", placed[kind], kind)
		}
	}
}

// checkRoom holds what quotes read against the naive rules.
func (h *history) checkRoom(t *testing.T, seed uint64, s *Shape) {
	t.Helper()
	room, fits := false, false
	for _, n := range h.w.nodes {
		_, _, _, free := naiveHolds(n, naiveFree(n, n.Used, n.Takes), h.w.pools[0], s)
		_, _, _, empty := naiveHolds(n, &naiveRoom{n.Has, naiveCards(n, nil)}, h.w.pools[0], s)
		refused := s.GPU.Asks(s.Need) && n.refuses(s.ID)
		room, fits = room || free && !refused, fits || empty
	}
	if HasRoom(h.x, s) != room || Fits(h.x, s) != fits {
		t.Fatalf("seed %d: shape %+v has room %t and fits %t, not %t and %t", seed, s, HasRoom(h.x, s), Fits(h.x, s), room, fits)
	}
}
