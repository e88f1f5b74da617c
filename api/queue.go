package api

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

type listInput struct {
	Pool  string `query:"pool"`
	State string `query:"state" enum:"queued,running,paused,done"`
	All   bool   `query:"all" doc:"finished jobs too, until they are forgotten"`
	Fund  string `query:"fund" doc:"only the jobs of the pot with this fund id, which are found without looking at others"`
	Only  string `query:"only" doc:"just these jobs, by number, with commas between them"`
	After string `query:"after" doc:"next of the answer before"`
	Limit int    `query:"limit" minimum:"0" doc:"at most 1000"`
}

type listOutput struct{ Body client.JobList }

func (a *API) listJobs(ctx context.Context, in *listInput) (*listOutput, error) {
	callerOf(ctx).owes(a.limits.AddressWork)
	v := a.recentView(ctx)
	if in.Only != "" {
		return a.listOnly(v, in.Only)
	}
	limit := in.Limit
	if limit == 0 || limit > a.limits.JobsPage {
		limit = a.limits.JobsPage
	}
	f, err := newJobFilter(v, in)
	if err != nil {
		return nil, err
	}
	page := f.page(v, limit)
	out := &listOutput{client.JobList{Jobs: make([]client.Job, 0, len(page))}}
	for _, j := range page {
		out.Body.Jobs = append(out.Body.Jobs, publicJob(v, j))
	}
	if len(page) == limit {
		out.Body.Next = placeOf(page[limit-1]).String()
	}
	return out, nil
}

func (a *API) listOnly(v *machine.View, only string) (*listOutput, error) {
	numbers := strings.Split(only, ",")
	if len(numbers) > a.limits.JobsPage {
		return nil, fail(string(machine.CodeLimit), "only: %d jobs, at most %d at once", len(numbers), a.limits.JobsPage)
	}
	out := &listOutput{client.JobList{Jobs: make([]client.Job, 0, len(numbers))}}
	for _, text := range numbers {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fail(string(machine.CodeInvalid), "only: %.20q is not a job's number", text)
		}
		if j, ok := v.Job(scheduler.JobID(n)); ok {
			out.Body.Jobs = append(out.Body.Jobs, publicJob(v, j))
		}
	}
	return out, nil
}

// place is where a job stands in the list: what runs first, then the higher bid, then the earlier; what is
// done comes last, the newest first.
type place struct {
	rank int
	bid  funding.Rate
	job  scheduler.JobID
}

func placeOf(j *scheduler.Job) place {
	switch j.State {
	case scheduler.JobRunning, scheduler.JobPaused:
		return place{0, j.Effective(), j.ID}
	case scheduler.JobDone:
		return place{2, 0, j.ID}
	}
	return place{1, j.Effective(), j.ID}
}

func (p place) String() string { return fmt.Sprintf("%d.%d.%d", p.rank, p.bid, p.job) }

func (p place) compare(q place) int {
	byJob := cmp.Compare(p.job, q.job)
	if p.rank == 2 {
		byJob = -byJob
	}
	return cmp.Or(cmp.Compare(p.rank, q.rank), cmp.Compare(q.bid, p.bid), byJob)
}

type jobFilter struct {
	pool  scheduler.PoolID
	state string
	all   bool
	pot   *funding.Pot // nil: of all
	after *place
}

func newJobFilter(v *machine.View, in *listInput) (jobFilter, error) {
	f := jobFilter{state: in.State, all: in.All || in.State == "done"}
	switch in.State {
	case "", "queued", "running", "paused", "done":
	default:
		return f, fail(string(machine.CodeInvalid), "state: %.20q is not queued, running, paused or done", in.State)
	}
	if in.Pool != "" {
		p, ok := v.PoolByName(in.Pool)
		if !ok {
			return f, fail(string(machine.CodePoolUnknown), "there is no pool %.64q; there are: %s", in.Pool, poolNames(v))
		}
		f.pool = p.ID
	}
	if in.Fund != "" {
		pot, err := findPot(v, in.Fund)
		if err != nil {
			return f, err
		}
		f.pot = pot
	}
	if in.After != "" {
		f.after = new(place)
		if n, err := fmt.Sscanf(in.After, "%d.%d.%d", &f.after.rank, &f.after.bid, &f.after.job); n != 3 || err != nil {
			return f, fail(string(machine.CodeInvalid), "after: %.40q is not from an answer", in.After)
		}
	}
	return f, nil
}

func (f jobFilter) takes(j *scheduler.Job) bool {
	switch {
	case f.pool != 0 && j.Pool != f.pool, !f.all && j.State == scheduler.JobDone, f.state != "" && j.State.String() != f.state:
		return false
	}
	return f.after == nil || placeOf(j).compare(*f.after) > 0
}

// walk visits the jobs among which the list is.
func (f jobFilter) walk(v *machine.View, visit func(*scheduler.Job) bool) {
	switch {
	case f.pot == nil:
		v.Jobs(0, visit)
	case f.pot.Own != 0:
		if j, ok := v.Job(scheduler.JobID(f.pot.Own)); ok {
			visit(j)
		}
	default:
		v.JobsOfPot(f.pot.ID, visit)
	}
}

// page finds the first jobs of the list. It walks them and keeps no more than a page, the last of it on top.
func (f jobFilter) page(v *machine.View, limit int) []*scheduler.Job {
	var best lastFirst
	f.walk(v, func(j *scheduler.Job) bool {
		switch {
		case !f.takes(j):
		case len(best) < limit:
			heap.Push(&best, j)
		case placeOf(j).compare(placeOf(best[0])) < 0:
			best[0] = j
			heap.Fix(&best, 0)
		}
		return true
	})
	slices.SortFunc(best, func(x, y *scheduler.Job) int { return placeOf(x).compare(placeOf(y)) })
	return best
}

// lastFirst is a heap with the job of the last place on top.
type lastFirst []*scheduler.Job

func (h lastFirst) Len() int           { return len(h) }
func (h lastFirst) Less(i, j int) bool { return placeOf(h[i]).compare(placeOf(h[j])) > 0 }
func (h lastFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lastFirst) Push(x any)        { *h = append(*h, x.(*scheduler.Job)) }
func (h *lastFirst) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
