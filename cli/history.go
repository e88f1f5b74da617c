package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/scheduler/jobfile"
)

func (a *app) historyVerb() *cobra.Command {
	var (
		since string
		mine  bool
		pool  string
	)
	cmd := &cobra.Command{
		Use: "history", Aliases: []string{"sacct"}, Short: "list finished jobs, the newest first", Args: cobra.NoArgs,
		Example: "  coinop history --since 1-00:00:00 --mine",
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter := client.HistoryFilter{Pool: pool, Limit: queuePage}
			if since != "" {
				d, err := jobfile.ParseDuration(since)
				if err != nil {
					return usageError{fmt.Errorf("--since: %w", err)}
				}
				filter.Since = time.Now().Add(-time.Duration(d) * time.Millisecond)
			}
			h, err := a.history(cmd.Context(), filter, mine)
			if err != nil {
				return err
			}
			return a.show(h, func() { a.printHistory(h) })
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "only those that ended in the last TIME")
	cmd.Flags().BoolVar(&mine, "mine", false, "only jobs whose keys lie in this wallet")
	cmd.Flags().StringVar(&pool, "pool", "", "only this pool's")
	_ = cmd.RegisterFlagCompletionFunc("pool", a.completePools)
	return cmd
}

func (a *app) history(ctx context.Context, filter client.HistoryFilter, mine bool) (client.History, error) {
	all := client.History{Jobs: []client.HistoryJob{}}
	c, err := a.connect()
	if err != nil {
		return all, err
	}
	own := map[uint64]bool{}
	if mine {
		keys, err := a.jobKeys(ctx)
		if err != nil {
			return all, err
		}
		for _, k := range keys {
			own[k.job] = true
		}
	}
	for {
		page, err := c.History(ctx, filter)
		if err != nil {
			return all, err
		}
		for _, j := range page.Jobs {
			if !mine || own[j.Job] {
				all.Jobs = append(all.Jobs, j)
			}
		}
		if page.Next == "" {
			return all, nil
		}
		filter.After = page.Next
	}
}

func (a *app) printHistory(h client.History) {
	if len(h.Jobs) == 0 {
		a.note("no finished jobs")
		return
	}
	rows := make([][]string, 0, len(h.Jobs))
	for _, j := range h.Jobs {
		rows = append(rows, []string{strconv.FormatUint(j.Job, 10), j.Pool, j.Reason, code(j.ExitCode), money(j.BidMicro),
			clock(&j.Submitted), clock(j.Started), clock(j.Ended)})
	}
	a.grid([]string{"JOB", "POOL", "REASON", "CODE", "BID", "SUBMITTED", "STARTED", "ENDED"}, rows)
}
