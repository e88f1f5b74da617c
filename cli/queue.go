package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

// queuePage is how many jobs are asked for at once.
const queuePage = client.JobsMax

type queueFlags struct {
	mine, all, watch bool
	pool, state, pot string
	labels           []string
}

func (a *app) queueVerb() *cobra.Command {
	var f queueFlags
	cmd := &cobra.Command{
		Use:     "queue",
		Aliases: []string{"squeue"},
		Short:   "list jobs in the order in which they would start",
		Example: "  coinop queue --mine --label team=film\n  coinop queue --pot @team.pot\n  coinop queue --pool default --state queued --watch",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("state", f.state, "queued", "running", "paused", "done"); err != nil {
				return err
			}
			if len(f.labels) > 0 && !f.mine {
				return usageError{errors.New("--label needs --mine: labels show with a job's key only")}
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
	cmd.Flags().StringArrayVar(&f.labels, "label", nil, "with --mine: only jobs with this label, `NAME=VALUE`; may be given again")
	cmd.Flags().StringVar(&f.pot, "pot", "", "only jobs that this pot pays for")
	cmd.Flags().BoolVar(&f.watch, "watch", false, "show it again every second until Ctrl-C")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(
		[]string{"queued", "running", "paused", "done"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("pool", a.completePools)
	return cmd
}

func (a *app) queue(ctx context.Context, f queueFlags) (client.JobList, error) {
	list := client.JobList{Jobs: []client.Job{}}
	c, err := a.connect()
	if err != nil {
		return list, err
	}
	filter := client.JobFilter{Pool: f.pool, State: f.state, All: f.all || f.state == "done", Limit: queuePage}
	if f.pot != "" {
		if filter.Fund, err = a.fundOf(f.pot); err != nil {
			return list, err
		}
	}
	if f.mine {
		return a.myJobs(ctx, c, filter, f.labels)
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

// myJobs asks for the jobs of the wallet by their keys, so that what is private of them shows, the newest first.
func (a *app) myJobs(ctx context.Context, c *client.Client, f client.JobFilter, labels []string) (client.JobList, error) {
	list := client.JobList{Jobs: []client.Job{}}
	ask := client.OwnRequest{Pool: f.Pool, State: f.State, All: f.All, Labels: map[string]string{}}
	for _, label := range labels {
		name, value, ok := strings.Cut(label, "=")
		if !ok || name == "" {
			return list, usageError{fmt.Errorf("--label %s: write NAME=VALUE", label)}
		}
		ask.Labels[name] = value
	}
	mine, err := a.jobKeys(ctx)
	if err != nil {
		return list, err
	}
	for some := range slices.Chunk(mine, queuePage) {
		ask.Jobs = make([]client.JobKey, len(some))
		for i, k := range some {
			ask.Jobs[i] = client.JobKey{Job: k.job, Key: k.view}
		}
		page, err := c.OwnJobs(ctx, ask)
		if err != nil {
			return list, err
		}
		for i := range page.Jobs {
			if f.Fund == "" || page.Jobs[i].FundID == f.Fund {
				list.Jobs = append(list.Jobs, page.Jobs[i])
			}
		}
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
