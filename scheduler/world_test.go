package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/coinop/coinop/funding"
)

// disagreement compares an index with the naive rules; it is empty when they agree.
func disagreement(w *world, x *Index, limit int) string {
	if d := cmp.Diff(naivePlace(w, limit), Place(x, 0, limit)); d != "" {
		return "place (naive -, index +): " + d
	}
	for p := PoolID(1); p <= 3; p++ {
		if a, b := naivePrice(w, p), Price(x, p); a != b {
			return fmt.Sprintf("price of pool %d: naive %d, index %d", p, a, b)
		}
		low, _, has := naiveLowest(w, p)
		if l, ok := Lowest(x, p); l != low || ok != has {
			return fmt.Sprintf("lowest of pool %d: naive %d, index %d", p, low, l)
		}
	}
	return ""
}

// history is a world, its index, and the random changes that both go through.
type history struct {
	*rapid.T
	w    world
	x    *Index
	dice *rand.Rand // instead of T, which draws mostly small numbers
}

func (h *history) int(lo, hi int64, what string) int64 {
	if h.dice != nil {
		return lo + h.dice.Int64N(hi-lo+1)
	}
	return rapid.Int64Range(lo, hi).Draw(h.T, what)
}

func (h *history) resources(top int64) Resources {
	return Resources{
		CPUMilli: 500 * h.int(0, 2*top, "cpu"), Memory: GiB / 2 * h.int(0, 4*top, "memory"),
		Disk: GiB * h.int(0, top, "disk"), GPUs: max(0, h.int(-4, 2, "gpus")),
	}
}

func (h *history) drivers() []string {
	return [][]string{{"process"}, {"container", "process"}, {"process", "container"}, {"vm"}}[h.int(0, 3, "drivers")]
}

// pick finds an element to replace, or a new place at the end.
func pick[T any](h *history, list *[]*T, most int) (int, *T) {
	i := int(h.int(0, int64(min(len(*list), most-1)), "which"))
	if i == len(*list) {
		*list = append(*list, nil)
	}
	return i, (*list)[i]
}

func (h *history) changePool() {
	i, old := pick(h, &h.w.pools, 2)
	p := &Pool{ID: PoolID(i + 1), Admission: []Admission{Trusted, Open}[h.int(0, 1, "admission")], Floor: funding.Rate(h.int(0, 4, "floor")),
		Weights: Weights{CPU: 1000 * h.int(0, 2, "weight"), Memory: 250, Disk: h.int(0, 1, "weight of disk"), GPU: 500 * h.int(0, 2, "weight of a GPU")}}
	for _, name := range []string{"1g.10gb", "a100", "a100/1g.10gb", "a100/share", "l40", "share"} {
		if h.int(0, 2, name) == 0 {
			p.Kinds = append(p.Kinds, KindWeight{name, 200 * h.int(0, 6, "weight of "+name)})
		}
	}
	p.Share = []string{"", "/a", "/b"}[h.int(0, 2, "share")]
	h.w.pools[i] = p
	h.x.PoolChanged(old, p)
}

func (h *history) addShape() {
	if len(h.w.shapes) >= 9 {
		return
	}
	s := &Shape{ID: ShapeID(len(h.w.shapes) + 1), Pool: PoolID(h.int(1, 2, "pool")), Need: h.resources(2), Driver: "process", Nodes: 1}
	if h.int(0, 1, "kind") == 0 {
		s.GPU = h.gpuRequest(&s.Need)
	}
	s.Share = []string{"", "", "/a", "/b"}[h.int(0, 3, "share")]
	h.w.shapes = append(h.w.shapes, s)
	h.x.ShapeAdded(s)
}

func (h *history) changeNode() {
	i, old := pick(h, &h.w.nodes, 8)
	n := &Node{ID: NodeID(i + 1), Pool: PoolID(h.int(1, 2, "pool")), Has: h.resources(4), Drivers: h.drivers(), State: NodeUp}
	if old != nil && h.int(0, 2, "same machine") > 0 {
		n = &Node{ID: old.ID, Pool: old.Pool, Has: old.Has, Drivers: old.Drivers, State: old.State, DriverFacts: old.DriverFacts, Shares: old.Shares}
	}
	if h.int(0, 2, "shares") == 0 {
		n.Shares = [][]string{nil, {"/a"}, {"/a", "/b"}}[h.int(0, 2, "which")]
	}
	if h.int(0, 2, "facts") == 0 {
		n.DriverFacts = []DriverFacts{{Name: "process", Isolation: []string{"", "process", "container", "vm"}[h.int(0, 3, "isolation")], Can: [][]string{nil, {"share"}}[h.int(0, 1, "can")]}}
	}
	if old != nil && n.Has == old.Has {
		n.Cards = old.Cards
	} else if h.int(0, 1, "cards") == 0 {
		n.Cards = h.cards()
		n.Has.GPUs = naiveIdle(naiveCards(n, nil))
	}
	n.Takes = h.takes(n)
	if h.int(0, 3, "refused") == 0 {
		n.Refused = []RefusedShape{{Shape: ShapeID(h.int(1, 9, "shape"))}}
	}
	if h.int(0, 5, "state") == 0 {
		n.State = NodeState(h.int(1, 5, "new state"))
	}
	n.Used = h.resources(2)
	h.w.nodes[i] = n
	h.x.NodeChanged(old, n)
}

func (h *history) changeJob() {
	i, old := pick(h, &h.w.jobs, 12)
	pool := PoolID(h.int(1, 2, "pool"))
	var shapes []ShapeID
	for _, s := range h.w.shapes {
		if s.Pool == pool {
			shapes = append(shapes, s.ID)
		}
	}
	shapes = append(shapes, ShapeID(10+uint32(pool))) // one that nobody has added
	j := &Job{
		ID: JobID(i + 1), Pot: funding.PotID(h.int(1, 4, "pot")), Pool: pool, Shape: rapid.SampledFrom(shapes).Draw(h.T, "shape"),
		Bid: funding.Rate(h.int(1, 9, "bid")), Boost: funding.Rate(h.int(0, 2, "boost")),
		Tasks: TaskRange{2, 1 + int32(h.int(1, 6, "tasks"))}, AtOnce: int32(h.int(0, 3, "at once")), Slots: int32(h.int(0, 8, "slots")),
		Open: int32(h.int(0, 2, "open")), OnHold: h.int(0, 6, "on hold") == 0, State: JobState(h.int(1, 6, "state")),
	}
	if j.State > JobDone {
		j.State = JobQueued
	}
	if old != nil && h.int(0, 2, "same work") > 0 {
		j.Pot, j.Pool, j.Shape = old.Pot, old.Pool, old.Shape
	}
	j.Next = j.Tasks.First + int32(h.int(0, 2, "placed"))
	for t := j.Tasks.First; t < j.Next; t++ {
		if h.int(0, 1, "again") == 0 {
			j.Requeued = append(j.Requeued, t)
		}
	}
	for n := h.int(0, 2, "faults"); n > 0; n-- {
		j.Faults = append(j.Faults, NodeID(h.int(1, 8, "fault")))
	}
	h.w.jobs[i] = j
	h.x.JobChanged(old, j)
}

func (h *history) changeRun() {
	i, old := pick(h, &h.w.runs, 10)
	r := &Run{ID: RunID(i + 1), Job: JobID(h.int(1, 12, "job")), Pool: PoolID(h.int(1, 2, "pool")), Bid: funding.Rate(h.int(1, 9, "bid")),
		State: RunState(h.int(1, 5, "state")), Firm: h.int(0, 5, "firm") == 0}
	if old != nil {
		r.Job, r.Pool = old.Job, old.Pool
	}
	h.w.runs[i] = r
	h.x.RunChanged(old, r)
}

func (h *history) step() {
	switch h.int(0, 9, "change") {
	case 0:
		h.changePool()
	case 1:
		h.addShape()
	case 2, 3, 4:
		h.changeNode()
	case 5, 6, 7:
		h.changeJob()
	default:
		h.changeRun()
	}
}

// rebuilt is the index of the same records, told in another order and at once.
func (w *world) rebuilt() *Index {
	x := NewIndex()
	for _, r := range slices.Backward(w.runs) {
		x.RunChanged(nil, r)
	}
	for _, j := range slices.Backward(w.jobs) {
		x.JobChanged(nil, j)
	}
	for _, n := range slices.Backward(w.nodes) {
		x.NodeChanged(nil, n)
	}
	for _, s := range slices.Backward(w.shapes) {
		x.ShapeAdded(s)
	}
	for _, p := range slices.Backward(w.pools) {
		x.PoolChanged(nil, p)
	}
	return x
}

func TestIndexAgreesWithTheNaiveRulesOnRandomWorlds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{T: t, x: NewIndex()}
		h.changePool()
		h.changePool()
		var kept *Index
		var then []Decision
		for n := h.int(1, 60, "changes"); n > 0; n-- {
			h.step()
			if h.int(0, 7, "look") > 0 {
				continue
			}
			limit := int(h.int(0, 5, "limit"))
			if d := disagreement(&h.w, h.x, limit); d != "" {
				t.Fatal(d)
			}
			if d := disagreement(&h.w, h.w.rebuilt(), limit); d != "" {
				t.Fatal("rebuilt index: ", d)
			}
			if kept != nil {
				if d := cmp.Diff(then, Place(kept, 0, 0)); d != "" {
					t.Fatal("a copy changed with its original: ", d)
				}
			}
			kept = h.x.Copy()
			then = Place(kept, 0, 0)
			if h.int(0, 1, "go on with the copy") == 0 {
				h.x, kept = kept, h.x
			}
		}
	})
}

// TestTheNaiveRulesBite plants a lost change of each sort and demands that it is noticed.
func TestTheNaiveRulesBite(t *testing.T) {
	plant := map[string]func(h *history){
		"a job":  func(h *history) { h.x = lose(h, func() { h.changeJob() }) },
		"a node": func(h *history) { h.x = lose(h, func() { h.changeNode() }) },
		"a run":  func(h *history) { h.x = lose(h, func() { h.changeRun() }) },
		"a pool": func(h *history) { h.x = lose(h, func() { h.changePool() }) },
	}
	for what, fault := range plant {
		t.Run(what, func(t *testing.T) {
			noticed := 0
			for seed := range 300 {
				rapid.Custom(func(rt *rapid.T) string {
					h := &history{T: rt, x: NewIndex()}
					for range 60 {
						h.step()
					}
					fault(h)
					return disagreement(&h.w, h.x, 0)
				}).Filter(func(d string) bool {
					if d != "" {
						noticed++
					}
					return true
				}).Example(seed)
			}
			if noticed == 0 {
				t.Fatal("300 worlds with a lost change, none noticed")
			}
		})
	}
}

// lose makes a change of which the index is not told.
func lose(h *history, change func()) *Index {
	x := h.x
	h.x = x.Copy()
	change()
	return x
}

// TestACopyIsReadWhileItsOwnerGoesOn: for the race detector, and for the answer that must not move.
func TestACopyIsReadWhileItsOwnerGoesOn(t *testing.T) {
	w, x := benchWorld(100, 400, 2)
	view := x.Copy()
	want, price := Place(view, 0, 0), Price(view, 1)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for range 5 {
				if !slices.Equal(want, Place(view, 0, 0)) || price != Price(view, 1) {
					t.Error("the copy has changed")
				}
			}
		})
	}
	for range 5 {
		w.apply(x, Place(x, 0, 50))
		x.Copy()
	}
	readers.Wait()
}
