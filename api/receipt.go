package api

import (
	"context"
	"strconv"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/scheduler"
)

type receiptOutput struct{ Body client.Receipt }

func (a *API) getReceipt(ctx context.Context, in *jobInput) (*receiptOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	j, err := a.ownJob(ctx, v, in.Job)
	if err != nil {
		return nil, err
	}
	return &receiptOutput{receiptOf(v, j)}, nil
}

// receiptOf is a job's receipt as the state has it: what was settled, which for a job that has ended is all.
func receiptOf(v *machine.View, j *scheduler.Job) client.Receipt {
	r, _ := v.Receipt(j.ID) // the pot and the shape of a job are there as long as it is
	out := client.Receipt{
		Job: r.Job, State: j.State.String(), Reason: j.Reason.String(), Final: r.Final,
		DepositedMicro: int64(r.Deposited), ChargedMicro: int64(r.Charged), RefundedMicro: int64(r.Refunded),
		BilledMs: int64(j.Billed), Usage: client.Usage{CPUMs: j.CPUMillis, MemoryPeakBytes: j.PeakBytes, GPU: usedOfGPUs(j.GPUs)},
		Deposits: []client.ReceiptDeposit{}, Lines: []client.ReceiptLine{},
	}
	if j.State == scheduler.JobDone {
		code := j.Exit
		out.ExitCode = &code
	}
	for _, d := range r.Deposits {
		out.Deposits = append(out.Deposits, client.ReceiptDeposit{
			Deposit: int64(d.Deposit), DepositedMicro: int64(d.Deposited), ChargedMicro: int64(d.Charged), RefundedMicro: int64(d.Refunded),
		})
	}
	for _, l := range r.Lines {
		out.Lines = append(out.Lines, client.ReceiptLine{What: l.What, AmountMicro: int64(l.Amount)})
	}
	return out
}

type filesOutput struct{ Body client.FileList }

func (a *API) getOutputs(ctx context.Context, in *jobInput) (*filesOutput, error) {
	v := a.node.View()
	j, err := a.ownJob(ctx, v, in.Job)
	if err != nil {
		return nil, err
	}
	out := &filesOutput{client.FileList{Files: []client.File{}}}
	v.FilesOf(j.ID, func(f *machine.RunFiles) bool {
		for _, file := range f.Outputs {
			out.Body.Files = append(out.Body.Files, client.File{
				Task: f.Task, Run: uint64(f.Run), Name: file.Name, SHA256: hexOf(file.Digest[:]), Size: file.Size, Mode: file.Mode,
			})
		}
		return true
	})
	return out, nil
}

type changeOutput struct{ Body client.Change }

func (a *API) getChange(ctx context.Context, in *jobInput) (*changeOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	j, err := a.ownJob(ctx, v, in.Job)
	if err != nil {
		return nil, err
	}
	pot, ok := v.Pot(j.Pot)
	if !ok {
		return nil, fail(codeRetention, "the pot of job %d is forgotten", in.Job)
	}
	if !j.OwnPot {
		// A shared pot's money comes back when the pot is closed.
		return &changeOutput{client.Change{State: "settled"}}, nil
	}
	return a.changeOf(ctx, v, pot)
}

// changeOf collects what came back to a pot's owner.
func (a *API) changeOf(ctx context.Context, v *machine.View, pot *funding.Pot) (*changeOutput, error) {
	out := &changeOutput{client.Change{State: "pending"}}
	if pot.State == funding.PotClosed {
		out.Body.State = "settled"
	}
	var points []cashu.Point
	for i := range pot.Deposits {
		d := &pot.Deposits[i]
		if !d.Owner && d.Claim != pot.Keys.Claim {
			continue // others collect their own
		}
		out.Body.RefundedMicro += int64(d.Refunded)
		for _, b := range d.Blanks {
			points = append(points, cashu.Point(b))
		}
	}
	v.RefundsOf(pot.ID, func(r *funding.Refund) bool {
		if r.Claim == pot.Keys.Claim {
			out.Body.Claims = append(out.Body.Claims, refundLine(v, r))
		}
		return true
	})
	var err error
	out.Body.Outputs, out.Body.Signatures, err = a.signedOf(ctx, v, points)
	return out, err
}

type historyInput struct {
	Since time.Time `query:"since"`
	Pool  string    `query:"pool"`
	After string    `query:"after"`
	Limit int       `query:"limit" minimum:"0"`
}

type historyOutput struct{ Body client.History }

func (a *API) getHistory(ctx context.Context, in *historyInput) (*historyOutput, error) {
	if a.config.Book == nil {
		return nil, fail(codeNotHere, "this server keeps no history")
	}
	q := HistoryQuery{Since: in.Since, Limit: in.Limit}
	if q.Limit == 0 || q.Limit > a.limits.JobsPage {
		q.Limit = a.limits.JobsPage
	}
	if in.Pool != "" {
		p, ok := a.recentView(ctx).PoolByName(in.Pool)
		if !ok {
			return nil, fail(string(machine.CodePoolUnknown), "there is no pool %.64q", in.Pool)
		}
		q.Pool = p.ID
	}
	if in.After != "" {
		n, err := strconv.ParseUint(in.After, 10, 64)
		if err != nil {
			return nil, fail(string(machine.CodeInvalid), "after: %.20q is not from an answer", in.After)
		}
		q.Before = scheduler.JobID(n)
	}
	jobs, err := a.config.Book.Jobs(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &historyOutput{client.History{Jobs: jobs}}
	if len(jobs) == q.Limit {
		out.Body.Next = strconv.FormatUint(jobs[len(jobs)-1].Job, 10)
	}
	return out, nil
}
