package sim

import (
	"testing"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// Each fault in moving what is suspended must be named within a few short lives.
func TestOraclesOfMovingBite(t *testing.T) {
	on := func(kind machine.EventKind, change func(*faulty, machine.Event, *scheduler.Run)) func(*faulty) {
		return func(f *faulty) {
			f.left = func(r *machine.Result) {
				f.each(r, kind, func(e machine.Event, run *scheduler.Run) { change(f, e, run) })
			}
		}
	}
	bite(t, map[string]func(*faulty){
		"the machine that it left keeps its place": on(machine.EventStored, func(f *faulty, e machine.Event, run *scheduler.Run) {
			if node, ok := f.View().Node(e.Node); ok && e.Reason != scheduler.ReasonNone {
				shape, _ := f.View().Shape(run.Shape)
				node.Used = node.Used.Plus(shape.Need.Keeps(), 1)
			}
		}),
		"the machine that it comes to gives it no place": on(machine.EventPlaced, func(f *faulty, e machine.Event, run *scheduler.Run) {
			if node, ok := f.View().Node(e.Node); ok && run.Stored != nil {
				shape, _ := f.View().Shape(run.Shape)
				node.Used = node.Used.Plus(shape.Need, -1)
			}
		}),
		"it goes to a machine of another kind": on(machine.EventStored, func(_ *faulty, _ machine.Event, run *scheduler.Run) {
			run.Parked.Stored.Moves = map[string]string{"qemu 7": "qemu 8", "qemu 8": "qemu 7"}[run.Parked.Stored.Moves]
		}),
		"its limit begins anew": on(machine.EventPlaced, func(f *faulty, _ machine.Event, run *scheduler.Run) {
			if job, ok := f.View().Job(run.Job); ok && run.Stored != nil {
				run.Stored.Left = job.TimeLimit
			}
		}),
		"it is charged on the way": on(machine.EventStarted, func(f *faulty, _ machine.Event, run *scheduler.Run) {
			if files, ok := f.View().Files(run.ID - 1); ok && files.Reason == scheduler.ReasonMoved && files.Job == run.Job {
				run.Before.Billed = 1
			}
		}),
	}, map[string][]string{
		"the machine that it left keeps its place":       {"place"},
		"the machine that it comes to gives it no place": {"place"},
		"it goes to a machine of another kind":           {"place"},
		"its limit begins anew":                          {"I8"},
		"it is charged on the way":                       {"I8"},
	})
}
