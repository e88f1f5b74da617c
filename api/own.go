package api

import (
	"bytes"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

func (a *API) ownRoute() {
	a.handle("POST /v1/jobs/own", a.ownJobs)
	a.document(huma.Operation{
		OperationID: "own-jobs", Method: http.MethodPost, Path: "/v1/jobs/own", Tags: []string{"jobs"},
		Summary:     "Jobs of one's own, each by its key",
		Description: "What is private of a job comes with it, but for its runs and its pot's deposits, which GET /v1/jobs/{job} has. Only these jobs are looked at.",
	}, client.OwnRequest{}, http.StatusOK, client.JobList{})
}

// ownJobs shows many jobs at once, so that who has a thousand need not ask a thousand times. Labels are private: this is
// where they narrow a list.
func (a *API) ownJobs(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var in client.OwnRequest
	if err := decode(body, &in); err != nil {
		return err
	}
	callerOf(ctx).owes(a.limits.AddressWork + len(in.Jobs)/a.limits.AddressWork)
	if n := len(in.Jobs); n > a.limits.JobsPage {
		return fail(string(machine.CodeLimit), "jobs: %d jobs, at most %d at once", n, a.limits.JobsPage)
	}
	v := a.recentView(ctx)
	f, err := newJobFilter(v, &listInput{Pool: in.Pool, State: in.State, All: in.All})
	if err != nil {
		return err
	}
	list := client.JobList{Jobs: []client.Job{}}
	for _, k := range in.Jobs {
		j, ok := v.Job(scheduler.JobID(k.Job))
		if !ok || !f.takes(j) || !mayBear(j, in.Labels) {
			continue
		}
		if key := hashKey(k.Key); key != j.View && key != j.Control {
			continue
		}
		job := publicJob(v, j)
		if job.Private, err = a.privateJob(v, j, false); err != nil {
			return err
		}
		if bears(job.Private, in.Labels) {
			list.Jobs = append(list.Jobs, job)
		}
	}
	return a.answer(w, http.StatusOK, 0, list)
}

// mayBear is false of most jobs that do not have these labels, without decoding what they are: text is in there as it is.
func mayBear(j *scheduler.Job, labels map[string]string) bool {
	for name, value := range labels {
		if !bytes.Contains(j.Spec, []byte(name)) || !bytes.Contains(j.Spec, []byte(value)) {
			return false
		}
	}
	return true
}

func bears(p *client.JobPrivate, labels map[string]string) bool {
	for name, value := range labels {
		if has, ok := p.Labels[name]; !ok || has != value {
			return false
		}
	}
	return true
}
