package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

// secondCtrlC is how soon a second Ctrl-C must come to cancel the job.
const secondCtrlC = 2 * time.Second

// exitInterrupted is what a shell expects of a command that Ctrl-C ended.
const exitInterrupted exitCode = 130

func (a *app) runVerb() *cobra.Command {
	var f jobFlags
	cmd := &cobra.Command{
		Use:     "run [flags] [FILE|-] [-- CMD ARGS...]",
		Aliases: []string{"srun"},
		Short:   "send a job with its money, follow its log, exit with its code",
		Long: "Send a job with its money, follow its log and exit with its code. Ctrl-C leaves the job running; a second\n" +
			"one within two seconds cancels it. An array's log is its first task's; `coinop logs JOB --task N` has the others.",
		Example: "  coinop run --time 10m --pay 1500 -- ./work.sh\n  coinop run --mode stream --pay 100 -- ./serve.sh\n  coinop run render.hcl",
		Args:    jobArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := a.submit(cmd, &f, args)
			if err != nil {
				return err
			}
			if a.json {
				if err := a.printSubmitted(answer); err != nil {
					return err
				}
			} else {
				a.note("job %d %s, %s held; fund id %s", answer.Job, answer.State, money(answer.HeldMicro), answer.FundID)
			}
			return a.follow(cmd.Context(), answer.Job)
		},
	}
	f.add(cmd, a)
	return cmd
}

// follow shows a job's log and life until it ends or Ctrl-C.
func (a *app) follow(asked context.Context, n uint64) error {
	// The job goes on after the first Ctrl-C, and so does this until a second one may have come.
	ctx, stop := context.WithCancel(context.WithoutCancel(asked))
	defer stop()
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	view, err := a.needViewKey(ctx, n)
	if err != nil {
		return err
	}
	line := newStatusLine(a)
	defer line.clear()
	a.out, a.err = line.over(a.out), line.over(a.err)
	var followers sync.WaitGroup
	watch, unwatch := context.WithCancel(ctx)
	followers.Go(func() { a.followLife(watch, line, n, view) })
	followers.Go(func() { a.followLog(watch, n, view) })
	type end struct {
		job client.Job
		err error
	}
	ended := make(chan end, 1)
	go func() {
		job, err := a.awaitJob(ctx, n)
		ended <- end{job, err}
	}()
	for {
		select {
		case e := <-ended:
			if e.err != nil {
				unwatch()
				followers.Wait()
				return e.err
			}
			a.drainLog(&followers, unwatch)
			line.clear()
			return a.finishJob(ctx, e.job)
		case <-interrupts:
			line.clear()
			again, err := a.interrupted(ctx, n, interrupts)
			if err != nil || !again {
				unwatch()
				stop()
				followers.Wait()
				return errors.Join(err, exitInterrupted)
			}
		}
	}
}

// drainLog lets the rest of the log come, which ends with the job, before the followers are stopped.
func (a *app) drainLog(followers *sync.WaitGroup, unwatch context.CancelFunc) {
	done := make(chan struct{})
	go func() {
		followers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		a.note("the log's end did not come in time; `coinop logs` has it")
	}
	unwatch()
	<-done
}

// interrupted waits for a second Ctrl-C and then cancels the job. True means to go on watching it end.
func (a *app) interrupted(ctx context.Context, n uint64, interrupts <-chan os.Signal) (bool, error) {
	a.note("job %d goes on; again within 2 s to cancel it", n)
	select {
	case <-time.After(secondCtrlC):
		return false, nil
	case <-interrupts:
	}
	control, err := a.needControlKey(ctx, n)
	if err != nil {
		return false, err
	}
	c, err := a.connect()
	if err != nil {
		return false, err
	}
	if _, err := c.Cancel(ctx, n, control, ""); err != nil {
		return false, fmt.Errorf("cancel job %d: %w", n, err)
	}
	a.note("job %d is being cancelled", n)
	return true, nil
}

// followLog prints the log of the job's first task.
func (a *app) followLog(ctx context.Context, n uint64, view string) {
	c, err := a.connect()
	if err != nil {
		return
	}
	job, err := c.Job(ctx, n, view)
	if err != nil {
		return
	}
	err = a.printLogs(ctx, n, view, logFlags{follow: true, task: job.Tasks.First})
	if err != nil && ctx.Err() == nil {
		a.note("the log broke off: %v", err)
	}
}
