package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

type logFlags struct {
	follow, stdout, stderr bool
	tail                   int
	task                   int32
}

func (a *app) logsVerb() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "logs JOB",
		Short: "print what a job wrote; its standard error goes to standard error",
		Long: "Print what a job wrote: the first MiB and the last 15 MiB of each stream, with the gap stated.\n" +
			"Logs are kept for seven days and can be read from any server.",
		Example:           "  coinop logs 12\n  coinop logs 12 -f --tail 20\n  coinop logs 12 --task 7 --stderr",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := jobNumber(args[0])
			if err != nil {
				return err
			}
			view, err := a.needViewKey(cmd.Context(), n)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("task") {
				return a.printLogs(cmd.Context(), n, view, f)
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			job, err := c.Job(cmd.Context(), n, view)
			if err != nil {
				return err
			}
			f.task = job.Tasks.First
			return a.printLogs(cmd.Context(), n, view, f)
		},
	}
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on until the job ends")
	cmd.Flags().IntVar(&f.tail, "tail", 0, "only the last N lines")
	cmd.Flags().BoolVar(&f.stdout, "stdout", false, "only standard output")
	cmd.Flags().BoolVar(&f.stderr, "stderr", false, "only standard error")
	cmd.Flags().Int32Var(&f.task, "task", 0, "which task of an array (default: its first)")
	return cmd
}

// printLogs prints the streams that were asked for, both by default.
func (a *app) printLogs(ctx context.Context, job uint64, view string, f logFlags) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	both := f.stdout == f.stderr
	streams := map[string]io.Writer{}
	if both || f.stdout {
		streams["stdout"] = a.out
	}
	if both || f.stderr {
		streams["stderr"] = a.err
	}
	var (
		wait   sync.WaitGroup
		mu     sync.Mutex // printed pieces do not interleave inside a write
		failed []error
	)
	for name, w := range streams {
		wait.Go(func() {
			q := client.LogQuery{Job: job, View: view, Stream: name, Task: f.task, Tail: f.tail, Follow: f.follow}
			err := c.Logs(ctx, q, func(piece client.LogChunk) error {
				mu.Lock()
				defer mu.Unlock()
				return a.printPiece(w, name, piece)
			})
			if err != nil {
				mu.Lock()
				failed = append(failed, err)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return errors.Join(failed...)
}

func (a *app) printPiece(w io.Writer, stream string, piece client.LogChunk) error {
	if a.json {
		return a.printJSON(piece)
	}
	if piece.Gap > 0 {
		fmt.Fprintf(a.err, "\n[coinop: %s of %s were not kept here]\n", size(piece.Gap), stream)
	}
	_, err := w.Write(piece.Data)
	if errors.Is(err, os.ErrClosed) {
		return client.Stop()
	}
	return err
}
