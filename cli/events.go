package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

func (a *app) eventsVerb() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:               "events [JOB]",
		Short:             "list what happened to a job, or in the cluster",
		Example:           "  coinop events 12\n  coinop events -f --json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			q := client.EventQuery{Follow: follow}
			if len(args) == 1 {
				if q.Job, err = jobNumber(args[0]); err != nil {
					return err
				}
				q.View = a.viewKey(cmd.Context(), q.Job)
			}
			any := false
			err = c.Events(cmd.Context(), q, func(e client.Event) error {
				any = true
				return a.show(e, func() { fmt.Fprintln(a.out, eventLine(e)) })
			})
			if follow && cmd.Context().Err() != nil {
				return nil // Ctrl-C is how following ends
			}
			if err == nil && !any && q.Job != 0 {
				_, err = c.Job(cmd.Context(), q.Job, "") // is there such a job at all?
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until Ctrl-C, or until the job ends")
	return cmd
}

func eventLine(e client.Event) string {
	line := fmt.Sprintf("%s  %-14s", clock(&e.At), e.Kind)
	if e.Job != 0 {
		line += " job " + strconv.FormatUint(e.Job, 10)
	}
	if e.Run != 0 {
		line += " run " + strconv.FormatUint(e.Run, 10)
	}
	if e.Node != "" {
		line += " node " + e.Node
	}
	if e.Pool != "" {
		line += " pool " + e.Pool
	}
	if e.AmountMicro != 0 {
		line += " " + money(e.AmountMicro)
	}
	if e.Text != "" {
		line += "  " + e.Text
	}
	return line
}
