package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

func (a *app) showVerb() *cobra.Command {
	return &cobra.Command{
		Use:               "show JOB",
		Short:             "show a job; what is private of it only with its key in this wallet",
		Example:           "  coinop show 12\n  coinop show 12 --json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			n, err := jobNumber(args[0])
			if err != nil {
				return err
			}
			job, err := c.Job(cmd.Context(), n, a.viewKey(cmd.Context(), n))
			if err != nil {
				return err
			}
			return a.show(job, func() { a.printJob(job) })
		},
	}
}

func (a *app) printJob(j client.Job) {
	state := j.State
	if j.OnHold {
		state += " (on hold)"
	}
	if j.NoFunds {
		state += " (waits for money)"
	}
	limit := "none"
	if j.TimeMs > 0 {
		limit = span(j.TimeMs)
	}
	public := []string{"job", strconv.FormatUint(j.Job, 10), "state", state, "reason", j.Reason, "exit code", code(j.ExitCode),
		"pool", j.Pool, "mode", j.Mode, "tasks", tasksLine(j.Tasks),
		"request", requestLine(j), "time limit", limit,
		"bid", money(j.BidMicro) + " per unit and second, " + money(j.WeightMilli*1000) + " units",
		"nodes", strings.Join(j.Nodes, " "), "fund id", j.FundID,
		"submitted", clock(&j.Submitted), "started", clock(j.Started), "ended", clock(j.Ended)}
	p := j.Private
	if p == nil {
		a.fields(public...)
		a.note("name, command and money show with the job's key, which is not in this wallet")
		return
	}
	a.fields(append(public, "because", saidOfEnd(j), "name", p.Name, "image", imageLine(p), "command", saidCommand(p), "works in", p.Chdir, "labels", labels(p.Labels),
		"deposited", money(p.Pot.DepositedMicro), "spent", money(p.SpentMicro), "held", money(p.HeldMicro),
		"free", money(p.Pot.FreeMicro), "billed", seconds(p.BilledMs), "funded until", clock(p.FundedUntil))...)
	if len(p.Runs) == 0 {
		return
	}
	rows := make([][]string, 0, len(p.Runs))
	for _, r := range p.Runs {
		rows = append(rows, []string{strconv.FormatUint(r.Run, 10), strconv.Itoa(int(r.Task)), r.State, or(r.Node, "the servers"),
			clock(r.Started), clock(r.Ended), r.Reason, code(r.ExitCode), money(r.OwedMicro)})
	}
	fmt.Fprintln(a.out)
	a.grid([]string{"RUN", "TASK", "STATE", "NODE", "STARTED", "ENDED", "REASON", "CODE", "COST"}, rows)
	a.printGPUsOf(p.Runs)
}

func tasksLine(t client.Tasks) string {
	if t.First == t.Last {
		return ""
	}
	line := fmt.Sprintf("%d-%d", t.First, t.Last)
	if t.AtOnce > 0 {
		line += fmt.Sprintf("%%%d", t.AtOnce)
	}
	return line + fmt.Sprintf(": %d waiting, %d running, %d done, %d failed", t.Waiting, t.Open, t.Done, t.Failed)
}

func requestLine(j client.Job) string {
	line := things(cpus(j.CPUMilli), "CPU") + ", " + size(j.MemoryBytes)
	if j.DiskBytes > 0 {
		line += ", " + size(j.DiskBytes) + " disk"
	}
	line += gpuRequest(j)
	if j.Driver != "process" {
		line += ", driver " + j.Driver
	}
	return line
}

// imageLine is what its container or machine is made of.
func imageLine(p *client.JobPrivate) string {
	line := p.Image
	if p.ReadOnly {
		line += ", read-only"
	}
	if p.ShmBytes > 0 {
		line += ", " + size(p.ShmBytes) + " /dev/shm"
	}
	if p.WorkDir != "" {
		line += ", starts in " + p.WorkDir
	}
	if len(p.Entrypoint) > 0 {
		line += ", entrypoint " + strings.Join(p.Entrypoint, " ")
	}
	return line
}

func labels(m map[string]string) string {
	parts := make([]string, 0, len(m))
	for _, k := range sortedKeys(m) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, " ")
}

func saidCommand(p *client.JobPrivate) string {
	if p.Hold {
		return "none: it keeps its place for `coinop shell`"
	}
	return strings.Join(p.Command, " ")
}
