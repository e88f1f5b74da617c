package machine

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/scheduler"
)

// submitted is a world with one rich pot, and a function that makes the nth submission against it:
// a command of 300 bytes in all.
func submitted(b *testing.B) (*Machine, func(n uint64) []byte) {
	b.Helper()
	w := newWorld(&testing.T{})
	for _, line := range []string{"init", "node n1 cpus=256"} {
		w.play(strings.Fields(line))
	}
	for i := range 8 {
		w.play(strings.Fields(fmt.Sprint("issue a", i, " 4000000000")))
		line := fmt.Sprintf("deposit p by=a%d pay=4000000000 claim", i)
		if i == 0 {
			line = "pot p by=a0 pay=1000000000 claim"
		} else if i > 2 {
			break
		}
		if got := w.play(strings.Fields(line)); !strings.Contains(got, "pot") && !strings.Contains(got, "deposit") {
			b.Fatal(line, ": ", got)
		}
	}
	work, err := (scheduler.Work{Argv: []string{"sh", "-c", strings.Repeat("x", 280)}}).Encode()
	if err != nil {
		b.Fatal(err)
	}
	at := w.at
	return w.m, func(n uint64) []byte {
		request := RequestID{Key: ulidOf(at, fmt.Sprint(n))}
		binary.BigEndian.PutUint64(request.Fingerprint[:], n+1)
		entry, err := Encode(at, Submit{
			Request: request, Pot: 1, Spend: keyOf("spend", "p"), Keys: funding.Keys{Control: keyOf("control", "p"), View: keyOf("view", "p")},
			Pool: 1, Need: scheduler.Resources{CPUMilli: 1000, Memory: 1 << 30}, Driver: "process", Mode: funding.Safe,
			Bid: 2_000_000, TimeLimit: 1000, Work: work,
		})
		if err != nil {
			b.Fatal(err)
		}
		return entry
	}
}

// BenchmarkSubmitFromPot: submissions a second that one machine applies, one view each 64 entries
// as a server makes them.
func BenchmarkSubmitFromPot(b *testing.B) {
	m, entry := submitted(b)
	entries := make([][]byte, b.N)
	for n := range entries {
		entries[n] = entry(uint64(n))
	}
	first := m.View().Index() + 1
	b.ReportAllocs()
	b.ResetTimer()
	for n, e := range entries {
		if r := m.Apply(first+uint64(n), e); r.Code != OK {
			b.Fatal(r.Code, r.Detail)
		}
		if n%64 == 0 {
			m.View()
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "submits/s")
}

// BenchmarkHeapPerJob: what a queued job with a command of 300 bytes keeps in memory, all indexes
// and its request's memory included. The bar is 1 KiB.
func BenchmarkHeapPerJob(b *testing.B) {
	const jobs = 50_000
	for b.Loop() {
		m, entry := submitted(b)
		first := m.View().Index() + 1
		before := heap()
		for n := range uint64(jobs) {
			if r := m.Apply(first+n, entry(n)); r.Code != OK {
				b.Fatal(r.Code, r.Detail)
			}
		}
		b.ReportMetric(float64(heap()-before)/jobs, "B/job")
		runtime.KeepAlive(m)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// BenchmarkView: a view of a million records, each after an entry that changes something.
func BenchmarkView(b *testing.B) {
	m, _ := submitted(b)
	for n := range uint64(1_000_000) {
		var key cashu.SpentKey
		binary.BigEndian.PutUint64(key[:], n*0x9e3779b97f4a7c15)
		m.state.spent.load(key, 1)
	}
	entry, err := Encode(dayOne, Format{Format: 1})
	if err != nil {
		b.Fatal(err)
	}
	index := m.View().Index()
	b.ReportAllocs()
	for b.Loop() {
		index++
		m.Apply(index, entry)
		m.View()
	}
}
