package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

func (a *API) jobRoutes() {
	a.handle(submitEndpoint, a.submit)
	a.document(huma.Operation{
		OperationID: "submit", Method: http.MethodPost, Path: "/v1/jobs", Tags: []string{"jobs"},
		Summary:     "Submit a job with its money",
		Description: "One entry spends the coins, opens the pot and queues the job, or does none of it. Without money: 402 with a quote, X-Cashu and WWW-Authenticate: Payment. Coins in the body need no challenge. The same request again has the same answer.",
		Parameters:  []*huma.Param{headerParam(client.HeaderIdempotencyKey, "a new ULID; the same one when the request is repeated"), headerParam("Authorization", "Bearer and the spend key of the pot that pays; or Payment and the answer to a 402's challenge, with a Cashu token")},
	}, client.SubmitRequest{}, http.StatusCreated, client.SubmitAnswer{})

	register(a, operation("quote", http.MethodPost, "/v1/quotes", "jobs", "What a job would cost; creates nothing"), a.postQuote)
	register(a, operation("jobs", http.MethodGet, "/v1/jobs", "jobs", "The queue, in the order in which jobs start"), a.listJobs)
	a.ownRoute()
	register(a, operation("job", http.MethodGet, "/v1/jobs/{job}", "jobs", "One job; what is private with its view key"), a.getJob)
	register(a, operation("cancel", http.MethodDelete, "/v1/jobs/{job}", "jobs", "End a job"), a.cancelJob)
	register(a, operation("hold", http.MethodPost, "/v1/jobs/{job}/hold", "jobs", "Keep a queued job from starting"), a.holdJob)
	register(a, operation("release", http.MethodPost, "/v1/jobs/{job}/release", "jobs", "Let it start again"), a.releaseJob)
	register(a, operation("cap", http.MethodPut, "/v1/jobs/{job}/cap", "jobs", "Limit what others add and what it may ever cost, or give it a longer time limit"), a.capJob)
	register(a, operation("receipt", http.MethodGet, "/v1/jobs/{job}/receipt", "jobs", "What a job has cost: lines that add up"), a.getReceipt)
	register(a, operation("outputs", http.MethodGet, "/v1/jobs/{job}/outputs", "jobs", "The files that its tasks left"), a.getOutputs)
	register(a, operation("change", http.MethodGet, "/v1/jobs/{job}/change", "jobs", "Signatures for the blanks of its payments"), a.getChange)
	register(a, operation("history", http.MethodGet, "/v1/history", "jobs", "Finished jobs, the newest first"), a.getHistory)
}

type jobInput struct {
	Job uint64 `path:"job"`
}

type jobOutput struct{ Body client.Job }

// job finds a job in memory.
func findJob(v *machine.View, id uint64) (*scheduler.Job, error) {
	j, ok := v.Job(scheduler.JobID(id))
	if !ok {
		return nil, fail(string(machine.CodeJobUnknown), "there is no job %d", id)
	}
	return j, nil
}

// ownJob finds a job whose private side the caller may see.
func (a *API) ownJob(ctx context.Context, v *machine.View, id uint64) (*scheduler.Job, error) {
	j, err := findJob(v, id)
	if err != nil {
		if past, perr := a.forgotten(ctx, id); perr == nil && past != nil {
			return nil, fail(codeRetention, "job %d is forgotten but for what is public", id)
		}
		return nil, err
	}
	c := callerOf(ctx)
	switch {
	case a.maySee(c, v, j.View, j.Control):
		return j, nil
	case c.key == (funding.KeyHash{}):
		return nil, fail(codeKeyMissing, "this part of job %d needs its view key", id)
	}
	return nil, fail(string(machine.CodeKeyWrong), "this is not the view key of job %d", id)
}

// forgotten asks the book for a job that the state has forgotten.
func (a *API) forgotten(ctx context.Context, id uint64) (*client.HistoryJob, error) {
	if a.config.Book == nil {
		return nil, nil
	}
	past, ok, err := a.config.Book.Job(ctx, scheduler.JobID(id))
	if err != nil || !ok {
		return nil, err
	}
	return &past, nil
}

type getJobInput struct {
	Job    uint64 `path:"job"`
	WaitMs int64  `query:"wait_ms" minimum:"0" doc:"answer when the job is done, or after so long"`
}

func (a *API) getJob(ctx context.Context, in *getJobInput) (*jobOutput, error) {
	j, v, err := decided(ctx, a, a.node.View(), func(v *machine.View) (*scheduler.Job, error) { return findJob(v, in.Job) })
	if err != nil {
		past, perr := a.forgotten(ctx, in.Job)
		if perr != nil || past == nil {
			return nil, err
		}
		return &jobOutput{pastJob(past)}, nil
	}
	if in.WaitMs > 0 {
		v, j = a.waitDone(ctx, v, j, time.Duration(in.WaitMs)*time.Millisecond)
	}
	return a.showJob(ctx, v, j)
}

func (a *API) showJob(ctx context.Context, v *machine.View, j *scheduler.Job) (*jobOutput, error) {
	out := &jobOutput{publicJob(v, j)}
	c := callerOf(ctx)
	switch {
	case a.maySee(c, v, j.View, j.Control):
		private, err := a.privateJob(v, j, true)
		if err != nil {
			return nil, err
		}
		a.addGPUUse(ctx, v, j, private)
		out.Body.Private = private
	case c.key != (funding.KeyHash{}):
		return nil, fail(string(machine.CodeKeyWrong), "this is not the view key of job %d", j.ID)
	}
	return out, nil
}

func pastJob(h *client.HistoryJob) client.Job {
	return client.Job{
		Job: h.Job, Pool: h.Pool, State: h.State, Reason: h.Reason, ExitCode: h.ExitCode, BidMicro: h.BidMicro,
		WeightMilli: h.WeightMilli, FundID: h.FundID, Submitted: h.Submitted, Started: h.Started, Ended: h.Ended,
	}
}

// lookAgain is how often at most a waiting request looks: entries come many thousand times a second.
const lookAgain = 25 * time.Millisecond

// waitDone returns when the job is done or the time is over.
func (a *API) waitDone(ctx context.Context, v *machine.View, j *scheduler.Job, wait time.Duration) (*machine.View, *scheduler.Job) {
	ctx, cancel := context.WithTimeout(ctx, min(wait, a.limits.WaitMax))
	defer cancel()
	for j.State != scheduler.JobDone {
		next, err := a.nextView(ctx, v)
		if err != nil {
			return v, j
		}
		changed, ok := next.Job(j.ID)
		if !ok {
			return v, j
		}
		v, j = next, changed
	}
	return v, j
}

// nextView waits for a younger state.
func (a *API) nextView(ctx context.Context, v *machine.View) (*machine.View, error) {
	if err := a.node.Wait(ctx, v.Index()+1); err != nil {
		return nil, err
	}
	select {
	case <-time.After(lookAgain):
		return a.viewAt(v.Index() + 1), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type cancelInput struct {
	Job    uint64 `path:"job"`
	Signal string `query:"signal" doc:"sent instead of TERM, by name or number"`
}

func (a *API) cancelJob(ctx context.Context, in *cancelInput) (*jobOutput, error) {
	signal, err := parseSignal(in.Signal)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	_, result, err := propose[machine.CancelAnswer](ctx, a, &machine.Cancel{
		Job: scheduler.JobID(in.Job), Control: c.key, Token: c.token, Signal: signal,
	})
	return a.afterChange(ctx, in.Job, result, err)
}

func (a *API) holdJob(ctx context.Context, in *jobInput) (*jobOutput, error) {
	return a.onHold(ctx, in.Job, true)
}

func (a *API) releaseJob(ctx context.Context, in *jobInput) (*jobOutput, error) {
	return a.onHold(ctx, in.Job, false)
}

func (a *API) onHold(ctx context.Context, job uint64, on bool) (*jobOutput, error) {
	c := callerOf(ctx)
	_, result, err := propose[machine.OnHoldAnswer](ctx, a, &machine.OnHold{
		Job: scheduler.JobID(job), Control: c.key, Token: c.token, On: on,
	})
	return a.afterChange(ctx, job, result, err)
}

type capInput struct {
	Job  uint64 `path:"job"`
	Body client.CapRequest
}

func (a *API) capJob(ctx context.Context, in *capInput) (*jobOutput, error) {
	command := &machine.JobCap{Job: scheduler.JobID(in.Job), Control: callerOf(ctx).key}
	for _, f := range []struct {
		name string
		from *int64
		to   **funding.Amount
	}{{"cap_others_micro", in.Body.CapOthersMicro, &command.CapOthers}, {"max_total_micro", in.Body.MaxTotalMicro, &command.MaxTotal}} {
		if f.from == nil {
			continue
		}
		if *f.from < 0 || *f.from > int64(funding.PotMax) {
			return nil, fail(codeAmount, "%s: %d is not from 0 to %d", f.name, *f.from, funding.PotMax)
		}
		amount := funding.Amount(*f.from)
		*f.to = &amount
	}
	if in.Body.TimeMs != nil {
		limit := funding.Millis(*in.Body.TimeMs)
		if err := limit.Check(); err != nil {
			return nil, fail(string(machine.CodeLimit), "time_ms: %v", err)
		}
		command.TimeLimit = &limit
	}
	_, result, err := propose[machine.JobCapAnswer](ctx, a, command)
	return a.afterChange(ctx, in.Job, result, err)
}

// afterChange shows a job as the entry left it. The caller's key was good, or the entry would have been refused; it
// need not be one that shows what is private.
func (a *API) afterChange(ctx context.Context, job uint64, result machine.Result, err error) (*jobOutput, error) {
	if err != nil {
		return nil, err
	}
	v, err := a.settled(ctx, result.Index)
	if err != nil {
		return nil, err
	}
	j, err := findJob(v, job)
	if err != nil {
		return nil, err
	}
	return &jobOutput{publicJob(v, j)}, nil
}
