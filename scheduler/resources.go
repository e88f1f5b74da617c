package scheduler

import "math"

// Within reports whether r fits into room.
func (r Resources) Within(room Resources) bool {
	return r.CPUMilli <= room.CPUMilli && r.Memory <= room.Memory && r.Disk <= room.Disk && r.GPUs <= room.GPUs
}

// Plus adds n times the resources of o, n may be negative.
func (r Resources) Plus(o Resources, n int64) Resources {
	return Resources{r.CPUMilli + n*o.CPUMilli, r.Memory + n*o.Memory, r.Disk + n*o.Disk, r.GPUs + n*o.GPUs}
}

// times is how often r fits into room.
func (r Resources) times(room Resources) int64 {
	n := int64(math.MaxInt64)
	for _, d := range [...][2]int64{
		{r.CPUMilli, room.CPUMilli}, {r.Memory, room.Memory}, {r.Disk, room.Disk}, {r.GPUs, room.GPUs},
	} {
		if d[0] > d[1] {
			return 0
		}
		if d[0] > 0 {
			n = min(n, d[1]/d[0])
		}
	}
	return n
}

// Free is the room for new work on a node. A node that has shrunk under its work has none to give
// of that, rather than less than none. Of its GPUs those are free of which no part is taken.
func (n *Node) Free() Resources {
	free := atLeast(n.Has.Plus(n.Used, -1), Resources{})
	if len(n.Cards) > 0 {
		free.GPUs = deckOf(n.Cards, n.Takes).idle()
	}
	return free
}

// fitWeights stand in for what a pool does not bill: it takes room all the same, and a task
// without a GPU should leave the machines that have some to those that need them.
var fitWeights = Weights{CPU: 1000, Memory: 250, Disk: 10, GPU: 16_000}

func worthWeights(w Weights) Weights {
	for _, d := range [...]struct{ have, other *int64 }{
		{&w.CPU, &fitWeights.CPU}, {&w.Memory, &fitWeights.Memory}, {&w.Disk, &fitWeights.Disk}, {&w.GPU, &fitWeights.GPU},
	} {
		if *d.have <= 0 {
			*d.have = *d.other
		}
	}
	return w
}

// worthOf orders room by what it would sell for. It never falls when there is more room, so a task
// fits only where the room is worth at least as much as the task.
func worthOf(w Weights, room Resources) int64 {
	worth, err := WeightOf(worthWeights(w), room)
	if err != nil {
		return math.MaxInt64
	}
	return int64(worth)
}
