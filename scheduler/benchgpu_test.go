package scheduler

import (
	"testing"

	"github.com/coinop/coinop/funding"
)

// BenchmarkPlaceGPUs: 1,000 machines with 8 cards each, of three models, and a job of its own for each card: whole ones by
// model, pairs joined by NVLink, slices and shares.
func BenchmarkPlaceGPUs(b *testing.B) {
	x := NewIndex()
	x.PoolChanged(nil, &Pool{ID: 1, Floor: 1, Weights: Weights{CPU: 1000, Memory: 250, GPU: 8000}, Kinds: []KindWeight{{"a100", 20_000}, {"a100/share", 1000}, {"share", 500}}})
	for i := range 1000 {
		cards := [][]Card{{a100(4, 1), a100(4, 2)}, {pcie(8)}, {{Count: 8, Model: "l40", Memory: 48 * GiB, Shares: 4}}}[i%3]
		n := &Node{ID: NodeID(i + 1), Pool: 1, State: NodeUp, Drivers: []string{"process"}, Cards: cards, Has: Resources{CPUMilli: 64_000, Memory: 512 * GiB, GPUs: 8}}
		x.NodeChanged(nil, n)
	}
	asks := []GPURequest{{Model: "a100"}, {Model: "a100", NVLink: true}, {}, {Memory: 40 * GiB}, {Kind: GPUSlice, Model: "a100", Profile: "3g.40gb"}, {Kind: GPUShare}}
	for i, g := range asks {
		s := &Shape{ID: ShapeID(i + 1), Pool: 1, Driver: "process", Nodes: 1, Need: Resources{CPUMilli: 1000, Memory: GiB}, GPU: g}
		if g.Kind == GPUWhole {
			s.Need.GPUs = 1 + int64(i%2)
		}
		x.ShapeAdded(s)
	}
	for i := range 8000 {
		x.JobChanged(nil, &Job{ID: JobID(i + 1), Pot: funding.PotID(i%100 + 1), Pool: 1, Shape: ShapeID(i%len(asks) + 1), Bid: funding.Rate(i*7919%1000 + 1), Slots: 1, State: JobQueued})
	}
	b.ReportAllocs()
	placed := 0
	for b.Loop() {
		placed = len(Place(x, 0, 0))
	}
	b.ReportMetric(float64(placed), "placed")
}
