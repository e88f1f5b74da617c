package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

// waitPiece is how long one request waits for a job to end.
const waitPiece = 25 * time.Second

func (a *app) waitVerb() *cobra.Command {
	return &cobra.Command{
		Use:               "wait JOB...",
		Short:             "wait until jobs have ended; exit with the first failed one's code",
		Example:           "  coinop wait 12 13",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			var numbers []uint64
			for _, arg := range args {
				n, err := jobNumber(arg)
				if err != nil {
					return err
				}
				numbers = append(numbers, n)
			}
			worst := exitCode(0)
			for _, n := range numbers {
				job, err := a.awaitJob(cmd.Context(), n)
				if err != nil {
					return err
				}
				if err := a.printEnd(job); err != nil {
					return err
				}
				if worst == 0 {
					worst = jobExit(job)
				}
			}
			if worst != 0 {
				return worst
			}
			return nil
		},
	}
}

// awaitJob returns when the job is done.
func (a *app) awaitJob(ctx context.Context, n uint64) (client.Job, error) {
	c, err := a.connect()
	if err != nil {
		return client.Job{}, err
	}
	for {
		job, err := c.WaitJob(ctx, n, a.viewKey(ctx, n), waitPiece)
		if err != nil || job.State == "done" {
			return job, err
		}
	}
}

// endLine is what run and --wait print last with --json.
type endLine struct {
	Job      uint64 `json:"job"`
	State    string `json:"state"`
	Reason   string `json:"reason"`
	ExitCode *int32 `json:"exit_code"`
}

func (a *app) printEnd(j client.Job) error {
	return a.show(endLine{j.Job, j.State, j.Reason, j.ExitCode}, func() {
		line := fmt.Sprintf("job %d %s: %s", j.Job, j.State, j.Reason)
		if j.ExitCode != nil {
			line += ", code " + code(j.ExitCode)
		}
		if said := saidOfEnd(j); said != "" {
			line += ": " + said
		}
		a.note("%s", line)
	})
}

// saidOfEnd is what the driver said of the run by which the job ended, where it said anything.
func saidOfEnd(j client.Job) string {
	if j.Private == nil || j.State != "done" {
		return ""
	}
	for _, r := range j.Private.Runs { // the newest first
		if r.Text != "" && r.Reason == j.Reason {
			return r.Text
		}
	}
	return ""
}

// jobExit is the exit code that a job's end stands for.
func jobExit(j client.Job) exitCode {
	switch j.Reason {
	case "time_limit", "money_end", "pause_grace", "max_total", "floor":
		return exitLimit
	case "fault", "node_lost", "faults_twice":
		return exitFault
	}
	if j.ExitCode != nil {
		return exitCode(*j.ExitCode)
	}
	if j.Reason == "exited" || j.Reason == "" {
		return 0
	}
	return exitError
}
