package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/wallet"
	"github.com/coinop/coinop/scheduler/jobfile"
)

func (a *app) fundVerb() *cobra.Command {
	var (
		donate bool
		time   string
	)
	cmd := &cobra.Command{
		Use:   "fund JOB|FUNDID [N]",
		Short: "add money to a job or a pot, or time and the money for it; anyone who knows the fund id may add money",
		Long: "Add whole units to a job or a pot. What is not used comes back to this wallet when the job ends or the\n" +
			"pot closes; with --donate it goes to the owner instead.\n" +
			"With --time the owner gives a job of mode stream (a rented machine is one) so much more time, and the most that\n" +
			"this can cost at its bid, or N where N is said: 0 where it has money enough.",
		Example: "  coinop fund 12 500\n  coinop fund 9f2c…64 hex digits… 500 --donate\n  coinop fund 12 --time 30m\n  coinop fund 12 0 --time 30m",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			amount := ""
			if len(args) > 1 {
				amount = args[1]
			}
			if time != "" {
				return a.extend(cmd.Context(), args[0], amount, time, donate)
			}
			return a.fund(cmd.Context(), args[0], amount, donate)
		},
	}
	cmd.Flags().BoolVar(&donate, "donate", false, "what is left goes to the owner")
	cmd.Flags().StringVar(&time, "time", "", "move its time limit by this `TIME`, as 30m or 1h30m")
	return cmd
}

func (a *app) fund(ctx context.Context, to, amount string, donate bool) error {
	if amount == "" {
		return usageError{errors.New("how much? coinop fund JOB N adds N units; --time TIME alone adds what that time can cost")}
	}
	units, err := wholeUnits(amount)
	if err != nil {
		return err
	}
	p, err := a.money(ctx)
	if err != nil {
		return err
	}
	fund := to
	if !isFund(to) {
		n, err := jobNumber(to)
		if err != nil {
			return usageError{fmt.Errorf("%q is neither a job number nor a fund id of 64 hex digits", to)}
		}
		job, err := p.api.Job(ctx, n, a.viewKey(ctx, n))
		if err != nil {
			return err
		}
		fund = job.FundID
	}
	answer, err := p.deposit(ctx, fund, units, donate)
	if err != nil {
		return err
	}
	return a.show(answer, func() { a.say("%d added to %s", units, short(fund)) })
}

// deposit adds money to a pot.
func (p *purse) deposit(ctx context.Context, fund string, units cashu.Units, donate bool) (client.PotAnswer, error) {
	order := wallet.Order{Mint: p.mint, Pay: units, Purpose: "fund " + short(fund), Method: "POST", Path: "/v1/funds",
		NoBlanks: donate, SecretKind: "deposit", Name: fund}
	var answer sent
	err := p.renewed(ctx, func() error {
		payment, err := p.Prepare(ctx, order, func(d wallet.Draft) ([]byte, error) {
			secret := client.Secret(d.Secret)
			r := client.DepositRequest{Donate: donate}
			if !donate {
				r.Claim = client.HashKey(secret.Key("claim"))
			}
			r.Payment = client.Payment{Pay: int64(units), Inputs: d.Inputs, Outputs: d.Outputs, Blanks: d.Blanks}
			return stored(client.PrepareDeposit(fund, d.ID, "", r))
		})
		return p.pay(ctx, payment, err, &answer)
	})
	answer.Signatures = nil
	return answer.PotAnswer, err
}

// wholeUnits reads what moves as coins.
func wholeUnits(text string) (cashu.Units, error) {
	amount, err := jobfile.ParseUnits(text)
	if err == nil && amount == 0 {
		err = errors.New("it must be more than zero")
	}
	if err != nil {
		return 0, usageError{fmt.Errorf("amount %s: %w", text, err)}
	}
	return cashu.Units(amount / funding.UnitMicro), nil
}

func short(fund string) string {
	if len(fund) <= 12 {
		return fund
	}
	return fund[:12] + "…"
}

func (a *app) potVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pot", Short: "money for many jobs: create, show, close", Args: cobra.NoArgs,
		Example: "  coinop pot create 10000 --out team.pot\n  coinop submit --pot @team.pot --time 1h -- make\n  coinop pot close @team.pot",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.potCreateVerb(), a.potShowVerb(), a.potCloseVerb())
	return cmd
}

func (a *app) potCreateVerb() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "create N",
		Short: "make a pot with a first deposit; its secret is written to a file",
		Long: "Make a pot with a first deposit. Its secret goes into a file that only you can read: whoever has it can\n" +
			"spend the pot. The fund id can only receive, and may be published.",
		Example: "  coinop pot create 10000 --out team.pot",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.createPot(cmd.Context(), args[0], out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file for the secret (default: pots/FUNDID in COINOP_HOME)")
	return cmd
}

func (a *app) createPot(ctx context.Context, amount, out string) error {
	units, err := wholeUnits(amount)
	if err != nil {
		return err
	}
	p, err := a.money(ctx)
	if err != nil {
		return err
	}
	order := wallet.Order{Mint: p.mint, Pay: units, Purpose: "pot", Method: "POST", Path: "/v1/pots", Name: out, SecretKind: "pot"}
	var answer sent
	file := ""
	err = p.renewed(ctx, func() error {
		payment, err := p.Prepare(ctx, order, func(d wallet.Draft) ([]byte, error) {
			secret := client.Secret(d.Secret)
			name, err := potFile(out, secret)
			if err != nil {
				return nil, err
			}
			// Written before anything is sent, like all secrets.
			if err := writePotSecret(name, secret); err != nil {
				return nil, err
			}
			file = name
			r := client.PotRequest{Keys: secret.Keys()}
			r.Payment = client.Payment{Pay: int64(units), Inputs: d.Inputs, Outputs: d.Outputs, Blanks: d.Blanks}
			return stored(client.PreparePot(d.ID, r))
		})
		err = p.pay(ctx, payment, err, &answer)
		var refused *client.Problem
		if errors.As(err, &refused) && refused.Status < 500 && file != "" {
			return errors.Join(err, os.Remove(file)) // there is no such pot and never will be
		}
		return err
	})
	if err != nil {
		return err
	}
	result := struct {
		FundID string `json:"fund_id"`
		File   string `json:"file"`
	}{answer.FundID, file}
	return a.show(result, func() { a.say("pot %s with %d; its secret is in %s", answer.FundID, units, file) })
}

// potFile is where a pot's secret is kept unless it was said.
func potFile(out string, secret client.Secret) (string, error) {
	if out != "" {
		return out, nil
	}
	dir, err := home()
	return filepath.Join(dir, "pots", secret.Key("fund")[:16]), err
}

func (a *app) potShowVerb() *cobra.Command {
	return &cobra.Command{
		Use: "show @FILE|FUNDID", Short: "show a pot's money", Example: "  coinop pot show @team.pot", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			fund, view := args[0], ""
			if !isFund(fund) {
				secret, err := a.potSecret(args[0])
				if err != nil {
					return err
				}
				fund, view = secret.Key("fund"), secret.Key("view")
			}
			pot, err := c.Pot(cmd.Context(), fund, view)
			if err != nil {
				return err
			}
			if view == "" { // its money is not for everybody
				public := publicPot{pot.FundID, pot.State}
				return a.show(public, func() {
					a.fields("fund id", public.FundID, "state", public.State)
					a.note("its money shows with its secret: coinop pot show @FILE")
				})
			}
			return a.show(pot, func() { a.printPot(pot) })
		},
	}
}

// isFund reports whether an argument is a fund id itself, and not a file with a pot's secret.
func isFund(text string) bool { return len(text) == 64 }

// fundOf is the fund id of a pot, named by itself or by the pot's secret.
func (a *app) fundOf(text string) (string, error) {
	if isFund(text) {
		return text, nil
	}
	secret, err := a.potSecret(text)
	return secret.Key("fund"), err
}

// publicPot is what shows without the pot's secret.
type publicPot struct {
	FundID string `json:"fund_id"`
	State  string `json:"state"`
}

func (a *app) printPot(p client.Pot) {
	a.fields("fund id", p.FundID, "state", p.State, "deposited", money(p.DepositedMicro), "free", money(p.FreeMicro),
		"held", money(p.HeldMicro), "charged", money(p.ChargedMicro), "refunded", money(p.RefundedMicro), "jobs", strconv.FormatInt(p.Jobs, 10))
	rows := make([][]string, 0, len(p.Deposits))
	for _, d := range p.Deposits {
		rows = append(rows, []string{strconv.FormatInt(d.Deposit, 10), clock(&d.At), money(d.DepositedMicro), money(d.ChargedMicro), money(d.RefundedMicro), d.Back})
	}
	if len(rows) > 0 {
		fmt.Fprintln(a.out)
		a.grid([]string{"DEPOSIT", "AT", "DEPOSITED", "CHARGED", "REFUNDED", "BACK BY"}, rows)
	}
}

func (a *app) potCloseVerb() *cobra.Command {
	return &cobra.Command{
		Use: "close @FILE", Short: "take no more jobs; what is left comes back when its jobs have ended",
		Example: "  coinop pot close @team.pot", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, err := a.potSecret(args[0])
			if err != nil {
				return err
			}
			p, err := a.money(cmd.Context())
			if err != nil {
				return err
			}
			pot, err := p.api.ClosePot(cmd.Context(), secret.Key("fund"), secret.Key("control"))
			if err != nil {
				return err
			}
			if _, err := p.CollectChange(cmd.Context(), p.mint); err != nil {
				a.note("the change is not here yet (%v); the next coinop command collects it", err)
			}
			return a.show(pot, func() { a.say("pot %s %s, %s refunded", short(pot.FundID), pot.State, money(pot.RefundedMicro)) })
		},
	}
}
