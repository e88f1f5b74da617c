package machine

import (
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// crowd is a state in which so many runs accrue, of so many streams; the first dry streams have
// money for a thousand seconds at a price of one credit, the others for a century.
func crowd(b *testing.B, runs, streams, dry int) *Machine {
	b.Helper()
	m := New()
	init := Init{
		Cluster: ClusterID{1}, Unit: "credit", Format: 1, Pools: []scheduler.Pool{devPool()},
		Keyset: keysetSpec(b, 1, 0, 0), Operator: keyOf("token", "operator"),
	}
	entry, err := Encode(dayOne, init)
	if err != nil {
		b.Fatal(err)
	}
	if r := m.Apply(1, entry); r.Code != OK {
		b.Fatal(r.Detail)
	}
	s := m.state
	s.shapes.load(1, &scheduler.Shape{ID: 1, Pool: 1, Need: scheduler.Resources{CPUMilli: 1000}, Driver: "process", Nodes: 1})
	from := s.series.must(1).At(dayOne)
	next := scheduler.RunID(0)
	for i := range streams {
		id, held := funding.PotID(i+1), funding.Amount(1)<<60
		if i < dry {
			held = 1000 * funding.UnitMicro * funding.Amount(runs/streams)
		}
		s.pots.load(id, &funding.Pot{ID: id, State: funding.PotOpen, Keys: funding.Keys{Fund: funding.FundID{byte(i), byte(i >> 8), byte(i >> 16), 1}}})
		job := scheduler.Job{
			ID: scheduler.JobID(i + 1), Pot: id, Pool: 1, Shape: 1, Mode: funding.Stream, Bid: 10 * 1_000_000, Weight: 1000,
			Tasks: scheduler.TaskRange{Last: int32(runs/streams) - 1}, Next: int32(runs / streams), State: scheduler.JobRunning, OwnPot: true,
		}
		s.jobs.load(job.ID, &job)
		hold := funding.StreamHold{Pot: id, Pool: 1}
		for task := range runs / streams {
			next++
			hold, err = hold.Start(1000, from, 0)
			if err != nil {
				b.Fatal(err)
			}
			s.runs.load(next, &scheduler.Run{
				ID: next, Job: job.ID, Task: int32(task), Pool: 1, Shape: 1, Weight: 1000, Bid: job.Bid,
				State: scheduler.RunRunning, Placed: dayOne, Start: dayOne, From: from,
			})
		}
		hold.Held = held
		s.streams.load(StreamID{Pot: id, Pool: 1}, &hold)
	}
	return m
}

// BenchmarkReprice is one entry that changes the price under a million runs, and the search that
// finds the thousand whose money it has ended. The bar is 5 ms for both.
func BenchmarkReprice(b *testing.B) {
	runs, streams := 1_000_000, 100_000
	if testing.Short() {
		runs, streams = 20_000, 2_000
	}
	m := crowd(b, runs, streams, 100) // ten runs each
	at := dayOne + 999_000            // a second before the first hundred streams run dry
	before, _ := m.View().Due(at)
	if len(before.Pause) != 0 {
		b.Fatalf("%d streams are dry before the price rises", len(before.Pause))
	}
	b.ResetTimer()
	for i := range b.N {
		price := funding.Rate(2_000_000 + 2*int64(i%2)*1_000_000)
		at += 10_000
		entry, err := Encode(at, Price{Pool: 1, Price: price})
		if err != nil {
			b.Fatal(err)
		}
		if r := m.Apply(uint64(i+2), entry); r.Code != OK {
			b.Fatal(r.Detail)
		}
		due, _ := m.View().Due(at + 1000)
		if dry := len(due.Pause); dry != 100 {
			b.Fatalf("%d streams of ten runs have run dry, not 100", dry)
		}
	}
	b.ReportMetric(float64(runs), "runs")
}
