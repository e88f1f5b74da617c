package scheduler

import (
	"cmp"
	"slices"

	"github.com/coinop/coinop/funding"
)

// world is records without an index: what the naive rules are read off.
type world struct {
	pools  []*Pool
	shapes []*Shape
	nodes  []*Node
	jobs   []*Job
	runs   []*Run
}

func (w *world) pool(id PoolID) *Pool {
	for _, p := range w.pools {
		if p.ID == id {
			return p
		}
	}
	return nil
}

func (w *world) shape(id ShapeID) *Shape {
	for _, s := range w.shapes {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func (w *world) job(id JobID) *Job {
	for _, j := range w.jobs {
		if j.ID == id {
			return j
		}
	}
	return nil
}

func naiveServes(n *Node, p *Pool, s *Shape) bool {
	for _, d := range n.DriverFacts {
		if d.Name == s.Driver && p != nil && p.Admission == Open && d.Isolation != "container" && d.Isolation != "vm" {
			return false
		}
	}
	able := false
	for _, d := range n.DriverFacts {
		able = able || d.Name == s.Driver && slices.Contains(d.Can, "share")
	}
	if s.Share != "" && (!able || p == nil || p.Share != s.Share || !slices.Contains(n.Shares, s.Share)) {
		return false
	}
	return n.State == NodeUp && n.Pool == s.Pool && s.Nodes <= 1 && slices.Contains(n.Drivers, s.Driver)
}

// naivePlace goes task by task, node by node.
func naivePlace(w *world, limit int) []Decision {
	jobs := slices.Clone(w.jobs)
	slices.SortFunc(jobs, func(a, b *Job) int {
		return cmp.Or(cmp.Compare(b.Bid+b.Boost, a.Bid+a.Boost), cmp.Compare(a.ID, b.ID))
	})
	free := map[NodeID]*naiveRoom{}
	for _, n := range w.nodes {
		free[n.ID] = naiveFree(n, n.Used, n.Takes)
	}
	blocked := map[ShapeID]bool{}
	var out []Decision
	for _, j := range jobs {
		s, p := w.shape(j.Shape), w.pool(j.Pool)
		if s == nil || p == nil || j.Bid+j.Boost < p.Floor {
			continue
		}
		waiting := naiveWaiting(j)
		for len(waiting) > 0 && !blocked[s.ID] {
			if limit > 0 && len(out) == limit {
				return out
			}
			n, cards := naiveNode(w, free, p, s, j.Faults)
			if n == nil {
				n, cards = naiveNode(w, free, p, s, nil)
			}
			if n == nil {
				blocked[s.ID] = true
				break
			}
			room := free[n.ID]
			room.Resources = room.Plus(s.Need, -1)
			for _, c := range cards {
				c.take(s.GPU.Kind, s.GPU.Profile)
			}
			if len(room.cards) > 0 {
				room.GPUs = naiveIdle(room.cards)
			}
			out = append(out, Decision{j.ID, waiting[0], n.ID})
			waiting = waiting[1:]
		}
	}
	return out
}

// naiveWaiting lists the tasks that may start, those that wait again first.
func naiveWaiting(j *Job) []int32 {
	if j.OnHold || j.State == JobDone || j.State == JobPaused {
		return nil
	}
	all := slices.Clone(j.Requeued)
	for t := j.Next; t <= j.Tasks.Last; t++ {
		all = append(all, t)
	}
	var out []int32
	for i, t := range all {
		running := j.Open + int32(i)
		if running >= j.Slots || j.AtOnce > 0 && running >= j.AtOnce {
			break
		}
		out = append(out, t)
	}
	return out
}

// naiveRoom is what is free on a node.
type naiveRoom struct {
	Resources
	cards []*naiveCard
}

func naiveFree(n *Node, used Resources, takes []Take) *naiveRoom {
	room := &naiveRoom{atLeast(n.Has.Plus(used, -1), Resources{}), naiveCards(n, takes)}
	if len(room.cards) > 0 {
		room.GPUs = naiveIdle(room.cards)
	}
	return room
}

// naiveNode is the node to take: for GPUs the one whose cards suit best, then the one whose room is worth least.
func naiveNode(w *world, free map[NodeID]*naiveRoom, p *Pool, s *Shape, not []NodeID) (best *Node, picked []*naiveCard) {
	var key []int64
	for _, n := range w.nodes {
		room := free[n.ID]
		cards, fresh, memory, ok := naiveHolds(n, room, p, s)
		refused := s.GPU.Asks(s.Need) && slices.ContainsFunc(n.Refused, func(r RefusedShape) bool { return r.Shape == s.ID })
		if !ok || slices.Contains(not, n.ID) || refused {
			continue
		}
		k := []int64{int64(fresh), memory, worthOf(p.Weights, room.Resources), int64(n.ID)}
		if best == nil || slices.Compare(k, key) < 0 {
			best, picked, key = n, cards, k
		}
	}
	return best, picked
}

func naiveHolds(n *Node, room *naiveRoom, p *Pool, s *Shape) (cards []*naiveCard, fresh int, memory int64, ok bool) {
	if !naiveServes(n, p, s) || room.CPUMilli < s.Need.CPUMilli || room.Memory < s.Need.Memory || room.Disk < s.Need.Disk || room.GPUs < s.Need.GPUs {
		return nil, 0, 0, false
	}
	if s.Need.GPUs == 0 && s.GPU.Kind == GPUWhole {
		return nil, 0, 0, true
	}
	if !slices.ContainsFunc(room.cards, func(c *naiveCard) bool { return !c.Sick }) {
		return nil, 0, 0, s.GPU == GPURequest{}
	}
	cards, fresh, memory = naiveChoice(room.cards, p, s)
	return cards, fresh, memory, cards != nil
}

// naiveLowest is L, and whose run it is: among equal bids the last submitted.
func naiveLowest(w *world, p PoolID) (funding.Rate, funding.PotID, bool) {
	var low *Run
	for _, r := range w.runs {
		if r.Pool != p || r.Firm || r.State == RunStopping || r.State == RunEnded {
			continue
		}
		if low == nil || cmp.Or(cmp.Compare(r.Bid, low.Bid), cmp.Compare(low.Job, r.Job), cmp.Compare(low.ID, r.ID)) < 0 {
			low = r
		}
	}
	if low == nil {
		return 0, 0, false
	}
	var pot funding.PotID
	if j := w.job(low.Job); j != nil && j.State != JobDone {
		pot = j.Pot
	}
	return low.Bid, pot, true
}

func naivePrice(w *world, p PoolID) funding.Rate {
	pool := w.pool(p)
	if pool == nil {
		return 0
	}
	low, pot, ok := naiveLowest(w, p)
	if !ok {
		return pool.Floor
	}
	price := pool.Floor
	for _, j := range w.jobs {
		if j.Pool != p || j.Pot == pot || len(naiveWaiting(j)) == 0 {
			continue
		}
		for _, n := range w.nodes {
			if s := w.shape(j.Shape); s != nil {
				if _, _, _, ok := naiveHolds(n, &naiveRoom{n.Has, naiveCards(n, nil)}, pool, s); ok {
					price = max(price, j.Bid+j.Boost)
				}
			}
		}
	}
	return min(low, price)
}
