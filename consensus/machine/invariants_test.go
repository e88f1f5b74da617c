package machine

import (
	"errors"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// busy is a cluster with a safe array, a stream and a job that has ended.
func busy(t *testing.T) *world {
	w := newWorld(t)
	for _, line := range strings.Split(`init
issue alice 10000
node n1 cpus=8
submit j1 by=alice pay=500 array=0-9%3 time=10s bid=2
submit j2 by=alice pay=2000 mode=stream
submit j3 by=alice pay=50 time=10s bid=2
place j1 n1 count=2
place j2 n1
place j3 n1
start j1
start j2
start j3
wait 5s
finish j3`, "\n") {
		w.play(strings.Fields(line))
	}
	return w
}

// Each check is shown a fault that it must find: a record that an entry of ours would never write.
func TestInvariantsBite(t *testing.T) {
	type fault struct {
		want  string
		plant func(s *state)
	}
	job := func(id scheduler.JobID, change func(*scheduler.Job)) func(*state) {
		return func(s *state) {
			next := *s.jobs.must(id)
			change(&next)
			s.jobs.put(id, &next)
		}
	}
	run := func(id scheduler.RunID, change func(*scheduler.Run)) func(*state) {
		return func(s *state) {
			next := *s.runs.must(id)
			change(&next)
			s.runs.put(id, &next)
		}
	}
	stream := func(change func(*funding.StreamHold)) func(*state) {
		return func(s *state) {
			id := StreamID{Pot: 2, Pool: 1}
			next := *s.streams.must(id)
			change(&next)
			s.streams.put(id, &next)
		}
	}
	bill := func(id scheduler.JobID, change func(*funding.Bill)) func(*state) {
		return func(s *state) {
			next := *s.bills.must(id)
			change(&next)
			s.bills.put(id, &next)
		}
	}
	for story, f := range map[string]fault{
		"a run that nobody counts":      {"I5", job(1, func(j *scheduler.Job) { j.Open-- })},
		"a hold that was forgotten":     {"I5", job(1, func(j *scheduler.Job) { j.Hold = 0 })},
		"a slot less than runs":         {"I5", job(1, func(j *scheduler.Job) { j.Slots = 1 })},
		"an end that holds":             {"I5", job(3, func(j *scheduler.Job) { j.Hold = 1 })},
		"a job that ended while it ran": {"I6", job(1, func(j *scheduler.Job) { j.State = scheduler.JobDone })},
		"a task too many":               {"I8", job(1, func(j *scheduler.Job) { j.Failed = 3 })},
		"more at once than asked":       {"I8", job(1, func(j *scheduler.Job) { j.AtOnce = 1 })},
		"a charge without a line":       {"I6", job(3, func(j *scheduler.Job) { j.Charged++ })},
		"more than it may ever cost":    {"I6", job(3, func(j *scheduler.Job) { j.MaxTotal = 1 })},
		"a draw too much":               {"I10", bill(3, func(b *funding.Bill) { b.Draws = []funding.Draw{{Deposit: 1, Amount: 1}} })},
		"a run of no job":               {"I6", run(1, func(r *scheduler.Run) { r.Job = 99 })},
		"a start before the place":      {"I8", run(1, func(r *scheduler.Run) { r.Start = r.Placed - 1 })},
		"a start in the future":         {"I8", run(1, func(r *scheduler.Run) { r.Start += 1 << 40 })},
		"settled in the future":         {"I8", run(1, func(r *scheduler.Run) { r.Settled += 1 << 50 })},
		"a run with another's weight":   {"I11", run(3, func(r *scheduler.Run) { r.Weight++ })},
		"a run that accrues from later": {"I11", run(3, func(r *scheduler.Run) { r.From.Lo++ })},
		"a stream of more than its own": {"I11", stream(func(h *funding.StreamHold) { h.Runs++ })},
		"a reserve below nothing":       {"I2", stream(func(h *funding.StreamHold) { h.Reserve = -1 })},
		"a stream that has run dry":     {"I9", stream(func(h *funding.StreamHold) { h.Held, h.Reserve = 100, 0 })},
		"a stream without runs": {"I5", func(s *state) {
			s.streams.put(StreamID{Pot: 1, Pool: 1}, &funding.StreamHold{Pot: 1, Pool: 1})
		}},
		"a stream that was lost": {"I5", func(s *state) { s.streams.del(StreamID{Pot: 2, Pool: 1}) }},
		"a node with room it lacks": {"I8", func(s *state) {
			node := *s.nodes.must(1)
			node.Used.CPUMilli--
			s.nodes.put(1, &node)
		}},
		"a shape of no job": {"I5", func(s *state) { s.shapes.put(99, &scheduler.Shape{ID: 99, Pool: 1}) }},
		"a pot of no job": {"I5", func(s *state) {
			pot := *s.pots.must(1)
			pot.Jobs++
			s.pots.put(1, &pot)
		}},
	} {
		w := busy(t)
		if err := w.m.View().CheckWork(1000); err != nil {
			t.Fatalf("before any fault: %v", err)
		}
		f.plant(w.m.state)
		for _, table := range w.m.state.tables() {
			table.merge()
		}
		var v *funding.Violation
		if err := w.m.state.freeze().CheckWork(1000); !errors.As(err, &v) || v.Invariant != f.want {
			t.Errorf("%s: %v; want %s", story, err, f.want)
		}
	}
}

func TestGrowthBites(t *testing.T) {
	for story, plant := range map[string]func(s *state){
		"a coin that can be spent again": func(s *state) {
			s.spent.ascend(cashu.SpentKey{}, func(key cashu.SpentKey, _ mint.KeysetNumber) bool {
				s.spent.del(key)
				return false
			})
		},
		"an output that is worth more": func(s *state) {
			s.outputs.ascend(cashu.Point{}, func(point cashu.Point, o mint.Output) bool {
				if o.Status == mint.OutputSigned {
					o.Power++
					s.outputs.put(point, o)
				}
				return o.Status != mint.OutputSigned
			})
		},
		"time that goes back": func(s *state) { s.meta.At-- },
	} {
		w := busy(t)
		before := w.m.View()
		plant(w.m.state)
		for _, table := range w.m.state.tables() {
			table.merge()
		}
		if err := w.m.state.freeze().CheckGrowth(before); err == nil {
			t.Errorf("%s was not found", story)
		}
	}
}
