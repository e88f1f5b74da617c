package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

// queuePage is how many jobs are asked for at once.
const queuePage = 1000

type queueFlags struct {
	mine, all, watch bool
	pool, state      string
}

func (a *app) queueVerb() *cobra.Command {
	var f queueFlags
	cmd := &cobra.Command{
		Use:     "queue",
		Aliases: []string{"squeue"},
		Short:   "list jobs in the order in which they would start",
		Example: "  coinop queue --mine\n  coinop queue --pool default --state queued --watch",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("state", f.state, "queued", "running", "paused", "done"); err != nil {
				return err
			}
			if f.watch {
				return a.watchQueue(cmd.Context(), f)
			}
			list, err := a.queue(cmd.Context(), f)
			if err != nil {
				return err
			}
			return a.show(list, func() { a.printQueue(list) })
		},
	}
	cmd.Flags().BoolVar(&f.mine, "mine", false, "only jobs whose keys lie in this wallet")
	cmd.Flags().BoolVar(&f.all, "all", false, "finished jobs too, until they are forgotten")
	cmd.Flags().StringVar(&f.pool, "pool", "", "only this pool's")
	cmd.Flags().StringVar(&f.state, "state", "", "only in this state: queued, running, paused, done")
	cmd.Flags().BoolVar(&f.watch, "watch", false, "show it again every second until Ctrl-C")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(
		[]string{"queued", "running", "paused", "done"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("pool", a.completePools)
	return cmd
}

func (a *app) queue(ctx context.Context, f queueFlags) (client.JobList, error) {
	c, err := a.connect()
	if err != nil {
		return client.JobList{}, err
	}
	list := client.JobList{Jobs: []client.Job{}}
	filter := client.JobFilter{Pool: f.pool, State: f.state, All: f.all || f.state == "done", Limit: queuePage}
	if f.mine {
		return a.myJobs(ctx, c, f)
	}
	for {
		page, err := c.Jobs(ctx, filter)
		if err != nil {
			return list, err
		}
		list.Jobs = append(list.Jobs, page.Jobs...)
		if page.Next == "" {
			return list, nil
		}
		filter.After = page.Next
	}
}

// myJobs asks for each job of the wallet by its key, so that what is private of it shows.
func (a *app) myJobs(ctx context.Context, c *client.Client, f queueFlags) (client.JobList, error) {
	list := client.JobList{Jobs: []client.Job{}}
	mine, err := a.jobKeys(ctx)
	if err != nil {
		return list, err
	}
	for _, k := range mine {
		job, err := c.Job(ctx, k.job, k.view)
		if isNotFound(err) {
			continue // forgotten by the servers, or of another cluster
		}
		if err != nil {
			return list, err
		}
		done := job.State == "done"
		if (done && !f.all && f.state != "done") || (f.pool != "" && job.Pool != f.pool) || (f.state != "" && job.State != f.state) {
			continue
		}
		list.Jobs = append(list.Jobs, job)
	}
	return list, nil
}

func (a *app) printQueue(list client.JobList) {
	if len(list.Jobs) == 0 {
		a.note("no jobs")
		return
	}
	rows := make([][]string, 0, len(list.Jobs))
	for i := range list.Jobs {
		rows = append(rows, queueRow(&list.Jobs[i]))
	}
	a.grid([]string{"JOB", "NAME", "POOL", "STATE", "TASKS", "CPUS", "BID", "LIMIT", "SUBMITTED", "WHY"}, rows)
}

func queueRow(j *client.Job) []string {
	name, state, limit := "", j.State, "none"
	if j.Private != nil {
		name = j.Private.Name
	}
	if j.OnHold && j.State == "queued" {
		state = "on hold"
	}
	if j.TimeMs > 0 {
		limit = span(j.TimeMs)
	}
	why := j.Reason
	if j.NoFunds {
		why = "no funds"
	}
	return []string{strconv.FormatUint(j.Job, 10), name, j.Pool, state, taskCounts(j.Tasks), cpus(j.CPUMilli),
		money(j.BidMicro), limit, clock(&j.Submitted), why}
}

// taskCounts is one word on a plain job's only task, and counts of an array's.
func taskCounts(t client.Tasks) string {
	n := t.Last - t.First + 1
	if n == 1 {
		return "1"
	}
	return fmt.Sprintf("%d/%d", t.Done+t.Failed, n)
}
