package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler/jobfile"
)

func (a *app) rentVerb() *cobra.Command {
	var (
		f      jobFlags
		detach bool
	)
	cmd := &cobra.Command{
		Use:   "rent --image IMAGE|--vm IMAGE [flags]",
		Short: "rent a machine for a while, and open a shell in it",
		Long: "Rent a machine: an ordinary job that runs nothing of its own and keeps its place. On a terminal its shell is\n" +
			"opened when it is ready; in a pipe this waits until then. It stays when the shell ends, until its time or its\n" +
			"money is up; `coinop cancel JOB` ends it at once, and what was not used comes back. It is paid by the second\n" +
			"(--mode stream, unless another is named): --time is the longest that it stays. While it runs, `coinop fund JOB N`\n" +
			"makes its money last longer, and `coinop fund JOB --time 30m` adds time and the money for it.",
		Example: "  coinop rent --image docker.io/library/debian:12 --time 2h --cpus 2 --memory 4GiB --pay 100\n" +
			"  coinop rent --image python:3.13 --pay 20 --detach\n  coinop cp ./data 12:/work && coinop shell 12",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			job, err := a.rental(cmd.Context(), &f)
			if err != nil {
				return err
			}
			answer, err := a.submitJob(cmd.Context(), job)
			if err != nil {
				return err
			}
			return a.rented(cmd.Context(), answer, detach)
		},
	}
	f.add(cmd, a)
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "print the job's number and return at once")
	return cmd
}

// rental is the machine that is asked for.
func (a *app) rental(ctx context.Context, f *jobFlags) (jobfile.Job, error) {
	fromEnv, err := jobfile.FromEnv(os.Environ(), os.LookupEnv)
	if err != nil {
		return f.said, usageError{err}
	}
	job := f.said.Over(fromEnv)
	job.Hold = true
	switch {
	case job.Image == "":
		return job, usageError{errors.New("rent what? Name an image: --image IMAGE for a container of it, --vm IMAGE for a virtual machine")}
	case job.Array != nil:
		return job, usageError{errors.New("--array: a machine is rented by itself; rent another for each")}
	}
	if job.Mode == 0 {
		job.Mode = funding.Stream
	}
	if job, err = checked(job); err != nil {
		return job, err
	}
	if job.Pay == 0 && job.Pot == "" {
		asked := job
		if job.Time > 0 { // what all of it can cost, not what its first minutes do
			asked.Mode = funding.Safe
		}
		job.Pay, err = a.askToPay(ctx, asked)
	}
	return job, err
}

// rented says how to reach the machine, and opens its shell where there is a terminal for it.
func (a *app) rented(ctx context.Context, answer client.SubmitAnswer, detach bool) error {
	n := answer.Job
	if err := a.printSubmitted(answer); err != nil {
		return err
	}
	a.note("`coinop shell %d`, `coinop cp FILE %d:` and `coinop forward %d PORT` reach it; `coinop cancel %d` ends it and gives the change back", n, n, n, n)
	if detach {
		return nil
	}
	q, err := a.taskQuery(ctx, fmt.Sprint(n))
	if err != nil {
		return err
	}
	switch ready, err := a.awaitShell(ctx, q); {
	case errors.Is(err, exitInterrupted):
		a.note("job %d goes on; `coinop cancel %d` ends it and gives the change back", n, n)
		return err
	case err != nil:
		return a.orItsEnd(ctx, n, err)
	case !ready:
		a.note("its image has no shell; `coinop shell %d -- PROGRAM` runs what it has", n)
		return nil
	}
	if a.json || !a.isTerminal(a.in) || !a.isTerminal(a.out) {
		return nil
	}
	var code exitCode
	if err := a.shell(ctx, q); err != nil && !errors.As(err, &code) { // of the last command there, which is nothing to this one
		return a.orItsEnd(ctx, n, err)
	}
	return a.orItsEnd(ctx, n, nil)
}

// awaitShell waits until commands can be run in the machine, and says whether a shell is among them.
func (a *app) awaitShell(ctx context.Context, q client.ExecQuery) (bool, error) {
	c, err := a.connect()
	if err != nil {
		return false, err
	}
	line := newStatusLine(a)
	watch, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.followLife(watch, line, q.Job, a.viewKey(ctx, q.Job))
	}()
	defer func() {
		stop()
		<-done
		line.clear()
	}()
	q.Command = []string{"sh", "-c", "exit 0"}
	code, message, err := execute(ctx, c, q, ends{out: io.Discard, err: io.Discard})
	switch {
	case err != nil:
		return false, err
	case code == codeNotFound, code == codeNotExecutable:
		return false, nil
	case code != 0:
		return false, errors.New(message)
	}
	return true, nil
}

// orItsEnd tells how the job has ended, if it has, rather than what that looked like; else what there is to know of it.
func (a *app) orItsEnd(ctx context.Context, n uint64, err error) error {
	c, cerr := a.connect()
	if cerr != nil {
		return errors.Join(err, cerr)
	}
	job, jerr := c.Job(ctx, n, a.viewKey(ctx, n))
	switch {
	case jerr != nil:
		return errors.Join(err, jerr)
	case job.State == "done":
		return a.finishJob(ctx, job)
	case err != nil:
		return err
	}
	until := "its money is up"
	if p := job.Private; p != nil && p.FundedUntil != nil {
		until = clock(p.FundedUntil)
	}
	a.note("job %d stays, and is paid, until %s; `coinop cancel %d` ends it and gives the change back", n, until, n)
	return nil
}
