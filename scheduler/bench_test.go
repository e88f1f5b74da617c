package scheduler

import (
	"math/rand/v2"
	"testing"

	"github.com/coinop/coinop/funding"
)

// benchWorld is 5,000 nodes of 8 CPUs and 100,000 queued tasks in 50 shapes, with bids that mix the
// shapes in the order: 40,000 or so find a place.
func benchWorld(nodes, jobs, tasks int) (*world, *Index) {
	r := rand.New(rand.NewPCG(1, 2))
	w, x := &world{}, NewIndex()
	w.pools = []*Pool{{ID: 1, Floor: 1, Weights: Weights{CPU: 1000, Memory: 250}}}
	x.PoolChanged(nil, w.pools[0])
	for i := range 50 {
		s := &Shape{ID: ShapeID(i + 1), Pool: 1, Driver: "process", Nodes: 1,
			Need: Resources{CPUMilli: 500 + 20*int64(i), Memory: GiB/2 + int64(i%7)*GiB/4}}
		w.shapes = append(w.shapes, s)
		x.ShapeAdded(s)
	}
	for i := range nodes {
		n := &Node{ID: NodeID(i + 1), Pool: 1, State: NodeUp, Drivers: []string{"process"},
			Has: Resources{CPUMilli: 8000, Memory: 32*GiB + int64(i%40)*1<<20, Disk: 100 * GiB}}
		w.nodes = append(w.nodes, n)
		x.NodeChanged(nil, n)
	}
	for i := range jobs {
		j := &Job{ID: JobID(i + 1), Pot: funding.PotID(i%1000 + 1), Pool: 1, Shape: ShapeID(r.IntN(50) + 1), Bid: funding.Rate(r.IntN(1000) + 1),
			Weight: 1000, Tasks: TaskRange{0, int32(tasks - 1)}, Slots: int32(tasks), State: JobQueued}
		w.jobs = append(w.jobs, j)
		x.JobChanged(nil, j)
	}
	return w, x
}

// apply does to records and index what entries that carry these decisions would do.
func (w *world) apply(x *Index, ds []Decision) {
	for _, d := range ds {
		i, k := int(d.Job)-1, int(d.Node)-1
		j, n := *w.jobs[i], *w.nodes[k]
		j.Next, j.Open, j.State = max(j.Next, d.Task+1), j.Open+1, JobRunning
		n.Used = n.Used.Plus(w.shapes[j.Shape-1].Need, 1)
		x.JobChanged(w.jobs[i], &j)
		x.NodeChanged(w.nodes[k], &n)
		w.jobs[i], w.nodes[k] = &j, &n
		r := &Run{ID: RunID(len(w.runs) + 1), Job: j.ID, Pool: 1, Bid: j.Bid, State: RunPlaced}
		x.RunChanged(nil, r)
		w.runs = append(w.runs, r)
	}
}

func benchmarkPlaceEmpty(b *testing.B, jobs, tasks int) {
	_, x := benchWorld(5000, jobs, tasks)
	b.ReportAllocs()
	placed := 0
	for b.Loop() {
		placed = len(Place(x, 0, 40_000))
	}
	b.ReportMetric(float64(placed), "placed")
}

// BenchmarkPlaceEmptyJobs: one task a job, so that each placement changes shape. Bar: 50 ms.
func BenchmarkPlaceEmptyJobs(b *testing.B) { benchmarkPlaceEmpty(b, 100_000, 1) }

// BenchmarkPlaceEmptyArrays: the same tasks as 100 arrays.
func BenchmarkPlaceEmptyArrays(b *testing.B) { benchmarkPlaceEmpty(b, 100, 1000) }

// BenchmarkPlaceOneChange: a full cluster, a queue of 50,000; one run ends and its place is given
// away, bookkeeping included. Bar: 1 ms.
func BenchmarkPlaceOneChange(b *testing.B) {
	w, x := benchWorld(5000, 100_000, 1)
	w.apply(x, Place(x, 0, 0))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(w.nodes)
		old := w.nodes[i]
		n := *old
		n.Used = n.Used.Plus(w.shapes[i%50].Need, -1)
		x.NodeChanged(old, &n)
		w.nodes[i] = &n
		view := x.Copy()
		w.apply(x, Place(view, 0, 0))
	}
}

// BenchmarkPlaceBlocked: nothing has changed and nothing fits.
func BenchmarkPlaceBlocked(b *testing.B) {
	w, x := benchWorld(5000, 100_000, 1)
	w.apply(x, Place(x, 0, 0))
	b.ReportAllocs()
	for b.Loop() {
		Place(x, 0, 0)
	}
}

// BenchmarkPriceOfAFullPool: L and B of 40,000 runs and 50,000 waiting jobs.
func BenchmarkPriceOfAFullPool(b *testing.B) {
	w, x := benchWorld(5000, 100_000, 1)
	w.apply(x, Place(x, 0, 0))
	b.ReportAllocs()
	for b.Loop() {
		Price(x, 1)
	}
}

// BenchmarkJobChanged: a job enters the queue and leaves it.
func BenchmarkJobChanged(b *testing.B) {
	w, x := benchWorld(100, 100_000, 1)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(w.jobs)
		x.JobChanged(w.jobs[i], nil)
		x.JobChanged(nil, w.jobs[i])
	}
}
