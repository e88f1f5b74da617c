package sim

import (
	"slices"
	"testing"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// each shows the run of every event of a kind as the entry has left it. These are the machine's own records: what is changed
// in one is what a machine with that fault would have.
func (f *faulty) each(r *machine.Result, kind machine.EventKind, do func(machine.Event, *scheduler.Run)) {
	for _, e := range r.Events {
		if run, ok := f.View().Run(e.Run); e.Kind == kind && ok {
			do(e, run)
		}
	}
}

// moves changes what a run takes of its node.
func (f *faulty) moves(run *scheduler.Run, n int64) {
	node, _ := f.View().Node(run.Node())
	shape, _ := f.View().Shape(run.Shape)
	node.Used = node.Used.Plus(shape.Need, n).Plus(shape.Need.Keeps(), -n)
}

// asleep are the suspended runs of a view.
func (f *faulty) asleep() (runs []*scheduler.Run) {
	f.View().Jobs(0, func(job *scheduler.Job) bool {
		f.View().RunsOf(job.ID, func(run *scheduler.Run) bool {
			if run.State == scheduler.RunSuspended {
				runs = append(runs, run)
			}
			return true
		})
		return true
	})
	return runs
}

// Each fault in suspending and waking must be named within a few short lives.
func TestOraclesOfSuspensionBite(t *testing.T) {
	suspended := func(change func(*faulty, *scheduler.Run)) func(*faulty) {
		return func(f *faulty) {
			f.left = func(r *machine.Result) {
				f.each(r, machine.EventSuspended, func(_ machine.Event, run *scheduler.Run) { change(f, run) })
			}
		}
	}
	bite(t, map[string]func(*faulty){
		"a place is not given back": suspended(func(f *faulty, run *scheduler.Run) { f.moves(run, 1) }),
		"a place is not taken again": func(f *faulty) {
			f.left = func(r *machine.Result) {
				f.each(r, machine.EventResumed, func(_ machine.Event, run *scheduler.Run) { f.moves(run, -1) })
			}
		},
		"a time limit moves while its run lies on disk": suspended(func(_ *faulty, run *scheduler.Run) {
			if run.Parked.Left != 0 {
				run.Parked.Left--
			}
		}),
		"a time limit goes on while its run lies on disk": func(f *faulty) {
			since := map[scheduler.RunID]funding.Millis{}
			f.left = func(r *machine.Result) {
				f.each(r, machine.EventSuspended, func(_ machine.Event, run *scheduler.Run) { since[run.ID] = run.Parked.Since })
				f.each(r, machine.EventResumed, func(e machine.Event, run *scheduler.Run) {
					if run.Until != 0 {
						run.Until -= e.At - since[run.ID]
					}
				})
			}
		},
		"its keep is charged twice":           suspended(func(_ *faulty, run *scheduler.Run) { run.Parked.Weight *= 2 }),
		"its keep is not charged":             suspended(func(_ *faulty, run *scheduler.Run) { run.Parked.Weight = 0 }),
		"how long it ran before is forgotten": suspended(func(_ *faulty, run *scheduler.Run) { run.Before.Billed = 0 }),
		"what it cost before is forgotten":    suspended(func(_ *faulty, run *scheduler.Run) { run.Before.Charged = 0 }),
		"the second stretch is free":          free,
		"one goes on without room":            roomless,
		"one goes on without money":           moneyless,
	}, map[string][]string{
		"a place is not given back":                       {"place"},
		"a place is not taken again":                      {"place"},
		"a time limit moves while its run lies on disk":   {"I8"},
		"a time limit goes on while its run lies on disk": {"I8"},
		"its keep is charged twice":                       {"I11"},
		"its keep is not charged":                         {"I11"},
		"how long it ran before is forgotten":             {"I8"},
		"what it cost before is forgotten":                {"I6"},
		"the second stretch is free":                      {"I11"},
		"one goes on without room":                        {"place"},
		"one goes on without money":                       {"woken"},
	})
}

// free has executors say of a run that went on that it stands still from then on.
func free(f *faulty) {
	since := map[scheduler.RunID]funding.Millis{}
	f.left = func(r *machine.Result) {
		f.each(r, machine.EventResumed, func(e machine.Event, run *scheduler.Run) { since[run.ID] = e.At })
	}
	f.take = func(c machine.Command) {
		eachRun(c, func(r *machine.RunReport) {
			from, ok := since[r.Run]
			stands := func(to funding.Millis, stopped *[]machine.Span) {
				if ok && to > from {
					*stopped = append(slices.DeleteFunc(*stopped, func(s machine.Span) bool { return s.To > from }), machine.Span{From: from, To: to})
				}
			}
			switch {
			case r.Ended != nil:
				stands(r.Ended.At, &r.Ended.Stopped)
			case r.Alive != nil:
				stands(r.Alive.To, &r.Alive.Stopped)
			case r.Suspended != nil:
				stands(r.Suspended.At, &r.Suspended.Stopped)
			}
		})
	}
}

// roomless has all that waits for room go on, as if machines were larger than they are.
func roomless(f *faulty) {
	const more = 1 << 20
	var grown []scheduler.NodeID
	grow := func(n int64) {
		for _, id := range grown {
			if node, ok := f.View().Node(id); ok {
				node.Has = node.Has.Plus(scheduler.Resources{CPUMilli: more, Memory: more << 30, Disk: more << 30}, n)
			}
		}
	}
	f.take = func(c machine.Command) {
		grown = nil
		if pulse, ok := c.(*machine.Pulse); ok && len(pulse.Wake) == 0 {
			for _, run := range f.asleep() {
				if run.Parked.Ready {
					pulse.Wake = append(pulse.Wake, run.ID)
					if !slices.Contains(grown, run.Node()) {
						grown = append(grown, run.Node())
					}
				}
			}
			grow(1)
		}
	}
	f.left = func(*machine.Result) { grow(-1) }
}

// moneyless has all that waits for money go on with what is left for its keep.
func moneyless(f *faulty) {
	f.take = func(c machine.Command) {
		if pulse, ok := c.(*machine.Pulse); ok && len(pulse.Wake) == 0 {
			for _, run := range f.asleep() {
				if !run.Parked.Ready {
					run.Parked.Ready = true
					pulse.Wake = append(pulse.Wake, run.ID)
				}
			}
		}
	}
}
