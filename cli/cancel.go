package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

func (a *app) cancelVerb() *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:               "cancel JOB...",
		Aliases:           []string{"scancel"},
		Short:             "end jobs; a running one gets SIGTERM, and SIGKILL after the kill delay",
		Example:           "  coinop cancel 12 13\n  coinop cancel 12 --signal INT",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachJob(cmd.Context(), args, "cancelled", func(c *client.Client, n uint64, control string) (client.Job, error) {
				return c.Cancel(cmd.Context(), n, control, signal)
			})
		},
	}
	cmd.Flags().StringVar(&signal, "signal", "", "send this instead of TERM, by name or number")
	return cmd
}

func (a *app) holdVerb() *cobra.Command {
	return &cobra.Command{
		Use:               "hold JOB...",
		Short:             "keep queued jobs from starting; their money stays reserved",
		Example:           "  coinop hold 12",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachJob(cmd.Context(), args, "on hold", func(c *client.Client, n uint64, control string) (client.Job, error) {
				return c.Hold(cmd.Context(), n, control)
			})
		},
	}
}

func (a *app) releaseVerb() *cobra.Command {
	return &cobra.Command{
		Use:               "release JOB...",
		Short:             "let held jobs start again",
		Example:           "  coinop release 12",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachJob(cmd.Context(), args, "released", func(c *client.Client, n uint64, control string) (client.Job, error) {
				return c.Release(cmd.Context(), n, control)
			})
		},
	}
}

// eachJob does one thing with the control keys of some jobs. One that fails does not keep the others from being done.
func (a *app) eachJob(ctx context.Context, args []string, what string, do func(*client.Client, uint64, string) (client.Job, error)) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	var failed []error
	for _, arg := range args {
		n, err := jobNumber(arg)
		if err != nil {
			return err
		}
		control, err := a.needControlKey(ctx, n)
		if err == nil {
			var job client.Job
			if job, err = do(c, n, control); err == nil {
				err = a.show(job, func() { a.say("job %d %s", n, what) })
			}
		}
		if err != nil {
			if len(args) > 1 {
				err = fmt.Errorf("job %d: %w", n, err)
			}
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
