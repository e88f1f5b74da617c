package api

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// nodesShown bounds the nodes that a job's line names.
const nodesShown = 8

// publicJob is what anyone may know of a job.
func publicJob(v *machine.View, j *scheduler.Job) client.Job {
	out := client.Job{
		Job: uint64(j.ID), State: j.State.String(), Reason: j.Reason.String(), Mode: modeWord(j.Mode),
		BidMicro: int64(j.Bid), BoostMicro: int64(j.Boost), WeightMilli: int64(j.Weight), TimeMs: int64(j.TimeLimit),
		OnHold: j.OnHold, Submitted: clock(j.Submitted), Started: clockOf(j.Started), Ended: clockOf(j.Ended),
		Tasks: client.Tasks{
			First: j.Tasks.First, Last: j.Tasks.Last, AtOnce: j.AtOnce, Waiting: j.Waiting(), Open: j.Open,
			Done: j.Done, Failed: j.Failed,
		},
	}
	out.NoFunds = j.State == scheduler.JobQueued && j.Waiting() > 0 && j.Slots <= j.Open
	if j.State == scheduler.JobDone {
		code := j.Exit
		out.ExitCode = &code
	}
	if p, ok := v.Pool(j.Pool); ok {
		out.Pool = p.Name
	}
	if s, ok := v.Shape(j.Shape); ok {
		out.Driver, out.CPUMilli, out.MemoryBytes = s.Driver, s.Need.CPUMilli, s.Need.Memory
		out.DiskBytes, out.GPUMemoryBytes, out.NVLink = s.Need.Disk, s.GPU.Memory, s.GPU.NVLink
		out.GPUs, out.GPUKind = tellGPU(s)
	}
	if pot, ok := v.Pot(j.Pot); ok {
		out.FundID = hexOf(pot.Keys.Fund[:])
		for i := range pot.Deposits {
			if !pot.Deposits[i].Owner {
				out.SponsorCount++
			}
		}
	}
	if j.Open > 0 {
		out.Nodes = openNodes(v, j.ID)
	}
	return out
}

func openNodes(v *machine.View, job scheduler.JobID) []string {
	var names []string
	v.RunsOf(job, func(r *scheduler.Run) bool {
		if r.State != scheduler.RunEnded {
			names = append(names, nodeNames(v, r.Nodes))
		}
		return len(names) < nodesShown
	})
	return names
}

func nodeNames(v *machine.View, ids []scheduler.NodeID) string {
	names := make([]string, 0, len(ids))
	for _, id := range ids {
		name := fmt.Sprintf("a removed node (%d)", id)
		if n, ok := v.Node(id); ok {
			name = n.Name
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

// privateJob is what the owner sees beside it: whole, or as a line of a list, without runs and the pot's deposits, of which
// there may be many.
func (a *API) privateJob(v *machine.View, j *scheduler.Job, whole bool) (*client.JobPrivate, error) {
	out := &client.JobPrivate{
		MaxTotalMicro: int64(j.MaxTotal), HeldMicro: int64(j.Hold), SpentMicro: int64(j.Charged), BilledMs: int64(j.Billed),
	}
	// The work goes when the retention is over; the job stays until its money is settled.
	if len(j.Spec) > 0 {
		w, err := scheduler.DecodeWork(j.Spec)
		if err != nil {
			return nil, err
		}
		out.Name, out.Image, out.Command, out.Labels, out.Outputs = w.Name, w.Image, w.Argv, w.Labels, w.Outputs
		out.Hold, out.Chdir = w.Hold, w.Chdir
		if b := w.Box; b != nil {
			out.Entrypoint, out.WorkDir, out.ReadOnly, out.ShmBytes = b.Entrypoint, b.WorkDir, b.ReadOnly, b.ShmBytes
		}
		out.Env = map[string]string{}
		for _, e := range w.Env {
			name, value, _ := strings.Cut(e, "=")
			out.Env[name] = value
		}
		for _, in := range w.Inputs {
			out.Inputs = append(out.Inputs, client.InputFile{To: in.To, SHA256: hexOf(in.Digest[:]), Size: in.Size, Mode: in.Mode})
		}
	}
	at := a.clusterNow(v)
	series, _ := v.Series(j.Pool)
	v.RunsOf(j.ID, func(r *scheduler.Run) bool {
		if r.State == scheduler.RunEnded {
			return true
		}
		line := runLine(v, r, series, at)
		out.SpentMicro += line.OwedMicro - int64(r.Before.Charged+r.Owed) // of which the job was charged that
		if r.Start > 0 && r.Parked == nil {
			out.BilledMs += int64(max(0, at-r.Begun()-r.Frozen))
		}
		if whole {
			out.Runs = append(out.Runs, line)
		}
		return true
	})
	if whole {
		v.FilesOf(j.ID, func(f *machine.RunFiles) bool {
			out.Runs = append(out.Runs, endedLine(v, f))
			return true
		})
		slices.SortFunc(out.Runs, func(x, y client.Run) int { return cmp.Compare(y.Run, x.Run) })
		out.Runs = out.Runs[:min(len(out.Runs), a.limits.RunsShown)]
	}
	if pot, ok := v.Pot(j.Pot); ok {
		if out.Pot = potSums(pot); whole {
			out.Pot = potView(pot)
		}
		out.FundedUntil = clockOf(fundedUntil(v, j, pot, at))
		if hold, ok := v.Stream(machine.StreamID{Pot: j.Pot, Pool: j.Pool}); ok && j.Mode == funding.Stream && j.OwnPot {
			out.HeldMicro = int64(hold.Held)
		}
	}
	return out, nil
}

// runLine is one open run with what it owes at a time.
func runLine(v *machine.View, r *scheduler.Run, series funding.Series, at funding.Millis) client.Run {
	line := client.Run{
		Run: uint64(r.ID), Task: r.Task, State: r.State.String(), Node: nodeNames(v, r.Nodes), Placed: clockOf(r.Placed),
		Started: clockOf(r.Start), Until: clockOf(r.Until), Reason: r.Stop.String(),
	}
	owed, kept := r.Owed, funding.Amount(0)
	switch {
	case r.Parked != nil:
		line.Until = clockOf(r.Parked.Until)
		if cost, err := r.Parked.Cost(at); err == nil {
			kept = max(0, cost-r.Parked.Owed)
		}
	case r.Start > 0 && at > r.Begun():
		if total, err := funding.Owed(r.Weight, r.From, series.At(at)); err == nil {
			owed = max(owed, total)
		}
	}
	line.OwedMicro = int64(r.Before.Charged + owed + kept)
	return line
}

// endedLine is what is left of a run: when it was, how it ended and what it has cost.
func endedLine(v *machine.View, f *machine.RunFiles) client.Run {
	code := f.Exit
	if f.Signal != 0 {
		code = 128 + f.Signal
	}
	ended := client.Run{
		Run: uint64(f.Run), Task: f.Task, State: scheduler.RunEnded.String(), Node: nodeNames(v, []scheduler.NodeID{f.Node}),
		Placed: clockOf(f.Placed), Started: clockOf(f.Started), Ended: clockOf(f.Ended), OwedMicro: int64(f.Charged),
		Reason: f.Reason.String(), Text: f.Text, GPU: usedOfGPUs(f.GPU),
	}
	if f.Reason != scheduler.ReasonMoved {
		ended.ExitCode = &code
	}
	return ended
}

// fundedUntil is when a job's money ends at today's price: a safe job's with its time limit, a stream's with what its
// pot holds and has free.
func fundedUntil(v *machine.View, j *scheduler.Job, pot *funding.Pot, at funding.Millis) funding.Millis {
	if j.State == scheduler.JobDone {
		return 0
	}
	if j.Mode == funding.Safe {
		var last funding.Millis
		v.RunsOf(j.ID, func(r *scheduler.Run) bool {
			if r.State != scheduler.RunEnded {
				last = max(last, r.Until)
			}
			return true
		})
		return last
	}
	hold, ok := v.Stream(machine.StreamID{Pot: j.Pot, Pool: j.Pool})
	series, known := v.Series(j.Pool)
	if !ok || !known || hold.Weight == 0 {
		return 0
	}
	if hold.Paused != 0 {
		return hold.Paused
	}
	// As much again as is free, less what a pause must always have left.
	end, ok := hold.Threshold(hold.Held - hold.Reserve + pot.Free())
	if !ok {
		return 0
	}
	when, ok := series.When(end)
	if !ok {
		return 0
	}
	return max(when, at)
}

// potView shows a pot with its deposits.
func potView(p *funding.Pot) client.Pot {
	out := potSums(p)
	for i := range p.Deposits {
		d := &p.Deposits[i]
		out.Deposits = append(out.Deposits, client.Deposit{
			Deposit: int64(d.ID), At: clock(d.At), Own: d.Owner, Back: wayBack(d.Way), DepositedMicro: int64(d.Amount),
			ChargedMicro: int64(d.Charged), RefundedMicro: int64(d.Refunded),
		})
	}
	return out
}

// potSums shows a pot's money as a whole.
func potSums(p *funding.Pot) client.Pot {
	deposited, charged, refunded := p.Totals()
	out := client.Pot{
		FundID: hexOf(p.Keys.Fund[:]), State: potState(p.State), DepositedMicro: int64(deposited), FreeMicro: int64(p.Free()),
		HeldMicro: int64(p.Held), ChargedMicro: int64(charged), RefundedMicro: int64(refunded), Jobs: int64(p.Jobs),
	}
	if p.Cap != nil {
		limit := int64(*p.Cap)
		out.CapOthersMicro = &limit
	}
	return out
}
