package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/wallet"
	"github.com/coinop/coinop/scheduler/jobfile"
)

func (a *app) submitVerb() *cobra.Command {
	var (
		f    jobFlags
		wait bool
	)
	cmd := &cobra.Command{
		Use:     "submit [flags] [FILE|-] [-- CMD ARGS...]",
		Aliases: []string{"sbatch"},
		Short:   "send a job with its money",
		Long: "Send a job with its money in one request. Of pay, time and bid two give the third; with pay alone, money\n" +
			"first buys time at the default bid up to the pool's default limit, what is left raises the bid.",
		Example: "  coinop submit --time 10m --pay 1500 -- ./work.sh\n  coinop submit --wait render.hcl\n  coinop submit --pot @team.pot --time 1h -- make",
		Args:    jobArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := a.submit(cmd, &f, args)
			if err != nil {
				return err
			}
			if err := a.printSubmitted(answer); err != nil || !wait {
				return err
			}
			job, err := a.awaitJob(cmd.Context(), answer.Job)
			if err != nil {
				return err
			}
			return a.finishJob(cmd.Context(), job)
		},
	}
	f.add(cmd, a)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has ended, and exit with its code")
	return cmd
}

func (a *app) quoteVerb() *cobra.Command {
	var f jobFlags
	cmd := &cobra.Command{
		Use:     "quote [flags] [FILE|-] [-- CMD ARGS...]",
		Short:   "ask what a job would cost now; nothing is created and nothing is paid",
		Example: "  coinop quote --cpus 4 --time 2h\n  coinop quote render.hcl",
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.said.Command == nil {
				f.said.Command = []string{"true"} // what runs does not matter to the price
			}
			job, err := a.job(cmd, &f, args)
			if err != nil {
				return err
			}
			q, err := a.quote(cmd.Context(), job)
			if err != nil {
				return err
			}
			return a.show(q, func() { a.printQuote(q) })
		},
	}
	f.add(cmd, a)
	return cmd
}

func (a *app) quote(ctx context.Context, job jobfile.Job) (client.Quote, error) {
	c, err := a.connect()
	if err != nil {
		return client.Quote{}, err
	}
	return c.Quote(ctx, client.QuoteRequest{Job: specOf(job, nil), Pay: int64(job.Pay / funding.UnitMicro)})
}

func (a *app) printQuote(q client.Quote) {
	start := "when work ahead of it has ended"
	switch {
	case !q.Fits:
		start = "never: no node of this pool is large enough"
	case q.StartsNow:
		start = "at once"
	case q.Ahead > 0:
		start = fmt.Sprintf("after %d waiting tasks", q.Ahead)
	}
	a.fields("pool", q.Pool, "mode", q.Mode, "gpus", q.GPUs, "size", sizeLine(q),
		"price now", money(q.PriceMicro)+" per unit and second", "bid", money(q.BidMicro), "time limit", span(q.TimeMs),
		"to pay", money(q.PayUnits*1_000_000), "cost at today's price", money(q.CostNowMicro), "would start", start)
	if len(q.Ladder) > 0 {
		fmt.Fprintln(a.out)
		rows := make([][]string, 0, len(q.Ladder))
		for _, r := range q.Ladder {
			rows = append(rows, []string{money(r.BidMicro), money(r.HoldMicro), fmt.Sprint(r.Ahead)})
		}
		a.grid([]string{"A BID OF", "TAKES", "WITH TASKS AHEAD"}, rows)
	}
}

// sizeLine is a job's weight, and of what it is made.
func sizeLine(q client.Quote) string {
	line := money(q.WeightMilli*1000) + " units"
	if len(q.Parts) < 2 {
		return line
	}
	parts := make([]string, 0, len(q.Parts))
	for _, p := range q.Parts {
		parts = append(parts, p.What+" "+money(p.WeightMilli*1000))
	}
	return line + ": " + strings.Join(parts, ", ")
}

// submit sends a job and its money, and returns when the servers have both.
func (a *app) submit(cmd *cobra.Command, f *jobFlags, args []string) (client.SubmitAnswer, error) {
	job, err := a.job(cmd, f, args)
	if err != nil {
		return client.SubmitAnswer{}, err
	}
	return a.submitJob(cmd.Context(), job)
}

func (a *app) submitJob(ctx context.Context, job jobfile.Job) (client.SubmitAnswer, error) {
	var none client.SubmitAnswer
	files, err := readInputs(job.Inputs)
	if err != nil {
		return none, err
	}
	if job.Pay == 0 && job.Pot == "" {
		if job.Pay, err = a.askToPay(ctx, job); err != nil {
			return none, err
		}
	}
	p, err := a.openFinished(ctx)
	if err != nil {
		return none, err
	}
	change, err := p.collectBeside(ctx)
	if err != nil {
		return none, err
	}
	defer p.end(change)
	if err := a.sendInputs(ctx, p.api, files); err != nil {
		return none, err
	}
	var answer client.SubmitAnswer
	err = p.renewed(ctx, func() error {
		payment, err := a.prepareJob(ctx, p, job, specOf(job, files))
		var short *wallet.ErrShort
		// Where other payments hold enough it has waited for them, and seen what was collected meanwhile.
		if errors.As(err, &short) && (short.Tied == 0 || short.Free+short.Tied < short.Need) {
			if _, failed := change.wait(); failed != nil {
				return p.unreachable(failed)
			}
			payment, err = a.prepareJob(ctx, p, job, specOf(job, files))
		}
		if err != nil {
			return moneyShort(err)
		}
		if err := p.deliver(ctx, payment, &answer); err != nil {
			return err
		}
		got := sent{Job: answer.Job}
		got.Signatures = answer.Signatures
		return p.settle(ctx, payment, got)
	})
	return answer, err
}

// prepareJob writes the whole request down, coins and all.
func (a *app) prepareJob(ctx context.Context, p *purse, job jobfile.Job, spec client.JobSpec) (wallet.Payment, error) {
	named := cmp.Or(job.Name, job.Image) // an image may have its own command
	if argv := job.Argv(); job.Name == "" && len(argv) > 0 {
		named = argv[0]
	}
	order := wallet.Order{
		Mint: p.mint, Purpose: "job " + named, Method: "POST", Path: "/v1/jobs",
		Name: job.Name, SecretKind: "job",
	}
	spend, fund := "", ""
	if job.Pot != "" {
		pot, err := a.potSecret(job.Pot)
		if err != nil {
			return wallet.Payment{}, err
		}
		spend, fund = pot.Key("spend"), pot.Key("fund")
		order.NoBlanks = true
	} else {
		order.Pay = cashu.Units(job.Pay / funding.UnitMicro)
	}
	return p.Prepare(ctx, order, func(d wallet.Draft) ([]byte, error) {
		r := client.SubmitRequest{Job: spec, Keys: client.Secret(d.Secret).Keys(), Pot: fund}
		r.Payment = client.Payment{Pay: int64(job.Pay / funding.UnitMicro), Inputs: d.Inputs, Outputs: d.Outputs, Blanks: d.Blanks}
		o, err := client.PrepareSubmit(d.ID, spend, r)
		if err != nil {
			return nil, err
		}
		return json.Marshal(o)
	})
}

// askToPay shows the quote and asks on a terminal. In a pipe nobody can say yes.
func (a *app) askToPay(ctx context.Context, job jobfile.Job) (funding.Amount, error) {
	q, err := a.quote(ctx, job)
	if err != nil {
		return 0, err
	}
	if a.json || !a.isTerminal(a.in) || !a.isTerminal(a.err) {
		return 0, moneyError{fmt.Errorf("no money was given with the job, so nothing was sent: add --pay %d (at today's price %s of it would be spent), or --pot @FILE", q.PayUnits, money(q.CostNowMicro))}
	}
	a.printQuote(q)
	fmt.Fprintf(a.err, "\npay %d from this wallet? [y/N] ", q.PayUnits)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && line == "" {
		return 0, moneyError{errors.New("not paid, not sent")}
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return 0, moneyError{errors.New("not paid, not sent")}
	}
	return funding.Amount(q.PayUnits) * funding.UnitMicro, nil
}

// submitted is what --json prints of an accepted job: these fields and no others, since scripts rely on them.
type submitted struct {
	Job         uint64 `json:"job"`
	State       string `json:"state"`
	FundID      string `json:"fund_id"`
	HeldMicro   int64  `json:"held_micro"`
	BidMicro    int64  `json:"bid_micro"`
	WeightMilli int64  `json:"weight_milli"`
}

func (a *app) printSubmitted(s client.SubmitAnswer) error {
	fixed := submitted{s.Job, s.State, s.FundID, s.HeldMicro, s.BidMicro, s.WeightMilli}
	return a.show(fixed, func() {
		if a.quiet {
			fmt.Fprintln(a.out, s.Job)
			return
		}
		fmt.Fprintf(a.out, "job %d %s\n", s.Job, s.State)
	})
}

// finishJob prints the last line, collects the change and exits with the job's code.
func (a *app) finishJob(ctx context.Context, job client.Job) error {
	if err := a.printEnd(job); err != nil {
		return err
	}
	p, err := a.openWallet(ctx)
	if err != nil {
		return err
	}
	if _, err := p.CollectChange(ctx, p.mint); err != nil {
		a.note("the change is not here yet (%v); the next coinop command collects it", err)
	}
	if c := jobExit(job); c != 0 {
		return c
	}
	return nil
}

// moneyShort gives a wallet that has too little the exit code of money.
func moneyShort(err error) error {
	var short *wallet.ErrShort
	if errors.As(err, &short) {
		return moneyError{fmt.Errorf("%w; nothing was sent: take coins in with `coinop wallet receive @FILE`, or pay less", err)}
	}
	return err
}

// live says whether a line that is drawn again makes sense.
func (a *app) live() bool {
	f, ok := a.err.(*os.File)
	return ok && a.isTerminal(f) && !a.json && !a.quiet
}
