package server

import (
	"fmt"
	"path"
	"slices"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// desired is what a node's runs should be, made from one view.
type desired struct {
	view *machine.View
	node scheduler.NodeID
	now  funding.Millis
	from funding.Millis // when the report that this answers arrived: what is left counts from there
	next funding.Millis // when an order changes though nothing happens: a notice's time comes; zero: never
}

// orders lists what every open run of the node should be, in the order of the runs' numbers.
func (d *desired) orders() []*wire.Order {
	var orders []*wire.Order
	d.view.RunsOfNode(d.node, func(run *scheduler.Run) bool {
		orders = append(orders, d.order(run))
		return true
	})
	return orders
}

func (d *desired) order(run *scheduler.Run) *wire.Order {
	o := &wire.Order{Run: uint64(run.ID), Want: wire.Want_WANT_RUN, Started: run.Start != 0}
	switch run.State {
	case scheduler.RunPaused:
		o.Want = d.pause(run)
	case scheduler.RunSuspended:
		o.Want, o.Stored = wire.Want_WANT_SUSPEND, run.Parked.Stored != nil
	case scheduler.RunStopping:
		if d.now >= run.StopAt {
			o.Want = wire.Want_WANT_STOP
			o.Signal = run.Signal
			o.KillDelayMs = int64(max(0, run.KillAt-run.StopAt))
		} else {
			if run.Parked != nil {
				o.Want = wire.Want_WANT_SUSPEND
			}
			d.wake(run.StopAt)
		}
		o.Notice = &wire.Notice{Reason: run.Stop.String(), AtUnixMs: int64(run.StopAt)}
	}
	d.limit(run, o)
	d.funds(run, o)
	return o
}

// pause says how a run is to wait for money: on disk where its driver can bring it there.
func (d *desired) pause(run *scheduler.Run) wire.Want {
	shape, known := d.view.Shape(run.Shape)
	node, there := d.view.Node(d.node)
	if !known || !there || shape.GPU.Asks(shape.Need) {
		return wire.Want_WANT_PAUSE
	}
	for _, driver := range node.DriverFacts {
		if driver.Name == shape.Driver && slices.Contains(driver.Can, "suspend") {
			return wire.Want_WANT_SUSPEND
		}
	}
	return wire.Want_WANT_PAUSE
}

// limit tells the run's time limit, which its owner may have moved since its spec was sent. Before its start it is the job's, so
// that a start is no news of it.
func (d *desired) limit(run *scheduler.Run, o *wire.Order) {
	if run.Parked != nil {
		o.LimitMs = -1
	} else if run.Until != 0 {
		o.LimitMs = int64(run.Until - run.Start)
	} else if job, ok := d.view.Job(run.Job); ok {
		o.LimitMs = int64(job.LimitOf(run))
	}
}

func (d *desired) wake(at funding.Millis) {
	if d.next == 0 || at < d.next {
		d.next = at
	}
}

// funds tells how long the money lasts. A safe job's hold covers its time limit at any price it can meet, so only a
// stream's money ends before its time; the executor freezes it then, should this server not be heard.
func (d *desired) funds(run *scheduler.Run, o *wire.Order) {
	until, ok := d.fundedUntil(run)
	if !ok {
		return
	}
	o.FundedUntilUnixMs = int64(until)
	if run.State == scheduler.RunPlaced || run.State == scheduler.RunRunning {
		left := int64(max(0, until-d.from))
		o.MoneyLeftMs = &left
	}
}

func (d *desired) fundedUntil(run *scheduler.Run) (funding.Millis, bool) {
	if run.Parked != nil {
		return run.Parked.Until, true
	}
	job, ok := d.view.Job(run.Job)
	if !ok || job.Mode != funding.Stream {
		return 0, false
	}
	hold, ok := d.view.Stream(machine.StreamID{Pot: job.Pot, Pool: run.Pool})
	if !ok {
		return 0, false
	}
	end, ok := hold.Ends()
	if !ok {
		return 0, false
	}
	series, _ := d.view.Series(run.Pool)
	return series.When(end)
}

// spec is what to run, made from the job's record.
func spec(view *machine.View, run *scheduler.Run) (*wire.Spec, error) {
	job, ok := view.Job(run.Job)
	if !ok {
		return nil, fmt.Errorf("spec of run %d: job %d is not in memory", run.ID, run.Job)
	}
	work, err := scheduler.DecodeWork(job.Spec)
	if err != nil {
		return nil, fmt.Errorf("spec of run %d: %w", run.ID, err)
	}
	shape, _ := view.Shape(run.Shape)
	pool, _ := view.Pool(run.Pool)
	s := &wire.Spec{
		Job: uint64(job.ID), Task: run.Task, Name: work.Name, Pool: pool.Name, Driver: shape.Driver,
		Argv: work.Argv, Env: work.Env, Script: work.Script, Image: work.Image, Outputs: work.Outputs, Hold: work.Hold,
		CpuMilli: shape.Need.CPUMilli, MemoryBytes: shape.Need.Memory, DiskBytes: shape.Need.Disk, Gpus: shape.Need.GPUs, Gpu: gpuRequest(shape),
		TimeLimitMs: int64(job.LimitOf(run)), KillDelayMs: int64(killDelay(pool, job.TimeLimit)), User: pool.User,
		Share: shape.Share, Chdir: work.Chdir,
	}
	if b := work.Box; b != nil {
		s.Box = &wire.Box{Entrypoint: b.Entrypoint, WorkDir: b.WorkDir, ReadOnly: b.ReadOnly, ShmBytes: b.ShmBytes}
	}
	if run.Stored != nil {
		s.From = &wire.Blob{Digest: run.Stored.Digest[:], Size: run.Stored.Size}
	}
	for _, in := range work.Inputs {
		s.Inputs = append(s.Inputs, &wire.Input{To: path.Clean(in.To), Digest: in.Digest[:], Size: in.Size, Mode: in.Mode})
	}
	return s, nil
}

// killDelay is the pool's, at most a tenth of the time limit.
func killDelay(pool *scheduler.Pool, limit funding.Millis) funding.Millis {
	if limit <= 0 {
		return pool.KillDelay
	}
	return min(pool.KillDelay, limit/10)
}
