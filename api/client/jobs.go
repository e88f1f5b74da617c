package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// PrepareSubmit makes a submission to be written down before [Client.Send] sends it. The key is a new ULID;
// spend is the spend key of the pot that pays, if one does.
func PrepareSubmit(key, spend string, r SubmitRequest) (Outbound, error) {
	return Prepare(http.MethodPost, "/v1/jobs", key, spend, r)
}

// Submit sends a job with its money.
func (c *Client) Submit(ctx context.Context, key, spend string, r SubmitRequest) (SubmitAnswer, error) {
	return call[SubmitAnswer](ctx, c, http.MethodPost, "/v1/jobs", key, spend, r)
}

// Quote asks what a job would cost.
func (c *Client) Quote(ctx context.Context, r QuoteRequest) (Quote, error) {
	return call[Quote](ctx, c, http.MethodPost, "/v1/quotes", "", "", r)
}

// JobFilter narrows a list of jobs; the zero filter is what waits and runs.
type JobFilter struct {
	Pool  string
	State string
	All   bool     // finished ones too, until they are forgotten
	Fund  string   // only those that the pot with this fund id pays for
	Only  []uint64 // just these, in this order; those that are forgotten are left out
	After string
	Limit int
}

// Jobs lists jobs in the order in which they would start.
func (c *Client) Jobs(ctx context.Context, f JobFilter) (JobList, error) {
	q := url.Values{}
	set(q, "pool", f.Pool)
	set(q, "state", f.State)
	set(q, "fund", f.Fund)
	set(q, "after", f.After)
	if len(f.Only) > 0 {
		numbers := make([]string, len(f.Only))
		for i, n := range f.Only {
			numbers[i] = strconv.FormatUint(n, 10)
		}
		q.Set("only", strings.Join(numbers, ","))
	}
	if f.All {
		q.Set("all", "true")
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return call[JobList](ctx, c, http.MethodGet, "/v1/jobs"+query(q), "", "", nil)
}

// JobsMax is how many jobs a server names in one answer, and how many [Client.OwnJobs] may ask for.
const JobsMax = 1000

// OwnJobs shows jobs with what is private of them, in the order in which they were named.
func (c *Client) OwnJobs(ctx context.Context, r OwnRequest) (JobList, error) {
	return call[JobList](ctx, c, http.MethodPost, "/v1/jobs/own", "", "", r)
}

// Job shows a job; what is private with its view or control key only.
func (c *Client) Job(ctx context.Context, job uint64, view string) (Job, error) {
	return call[Job](ctx, c, http.MethodGet, jobPath(job, ""), "", view, nil)
}

// WaitJob answers when the job is done, or when the time is over with the job as it is then.
func (c *Client) WaitJob(ctx context.Context, job uint64, view string, wait time.Duration) (Job, error) {
	path := jobPath(job, "") + "?wait_ms=" + strconv.FormatInt(wait.Milliseconds(), 10)
	return call[Job](ctx, c, http.MethodGet, path, "", view, nil)
}

// Cancel ends a job; signal is sent instead of TERM where it is given.
func (c *Client) Cancel(ctx context.Context, job uint64, control, signal string) (Job, error) {
	q := url.Values{}
	set(q, "signal", signal)
	return call[Job](ctx, c, http.MethodDelete, jobPath(job, "")+query(q), "", control, nil)
}

// Hold keeps a queued job from starting.
func (c *Client) Hold(ctx context.Context, job uint64, control string) (Job, error) {
	return call[Job](ctx, c, http.MethodPost, jobPath(job, "/hold"), "", control, nil)
}

// Release lets it start again.
func (c *Client) Release(ctx context.Context, job uint64, control string) (Job, error) {
	return call[Job](ctx, c, http.MethodPost, jobPath(job, "/release"), "", control, nil)
}

// Cap limits what others can add to a job's money, what it may ever cost, and how long it may run.
func (c *Client) Cap(ctx context.Context, job uint64, control string, r CapRequest) (Job, error) {
	return call[Job](ctx, c, http.MethodPut, jobPath(job, "/cap"), "", control, r)
}

// Receipt is what a job has cost.
func (c *Client) Receipt(ctx context.Context, job uint64, view string) (Receipt, error) {
	return call[Receipt](ctx, c, http.MethodGet, jobPath(job, "/receipt"), "", view, nil)
}

// Outputs lists the files that a job's tasks left.
func (c *Client) Outputs(ctx context.Context, job uint64, view string) (FileList, error) {
	return call[FileList](ctx, c, http.MethodGet, jobPath(job, "/outputs"), "", view, nil)
}

// Change collects the signatures for a job's blanks.
func (c *Client) Change(ctx context.Context, job uint64, view string) (Change, error) {
	return call[Change](ctx, c, http.MethodGet, jobPath(job, "/change"), "", view, nil)
}

// HistoryFilter narrows the history.
type HistoryFilter struct {
	Since time.Time
	Pool  string
	After string
	Limit int
}

// History lists finished jobs, the newest first.
func (c *Client) History(ctx context.Context, f HistoryFilter) (History, error) {
	q := url.Values{}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	set(q, "pool", f.Pool)
	set(q, "after", f.After)
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return call[History](ctx, c, http.MethodGet, "/v1/history"+query(q), "", "", nil)
}

func jobPath(job uint64, rest string) string { return fmt.Sprintf("/v1/jobs/%d%s", job, rest) }

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func query(q url.Values) string {
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// call is one request with a JSON answer.
func call[T any](ctx context.Context, c *Client, method, path, key, bearer string, body any) (T, error) {
	var answer T
	o, err := Prepare(method, path, key, bearer, body)
	if err != nil {
		return answer, err
	}
	err = c.Send(ctx, o, &answer)
	return answer, err
}
