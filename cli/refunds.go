package cli

import (
	"context"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/wallet"
)

// owed is a claimable balance with the key that takes it.
type owed struct {
	client.Refund
	claim string
}

func (a *app) refundsVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "refunds",
		Short: "list what waits to be claimed: change that no blank could take",
		Long: "List what waits to be claimed with this wallet's keys. Change comes back by itself as a rule; where it could\n" +
			"not, it waits here until its term ends.",
		Example: "  coinop refunds\n  coinop refunds claim", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.money(cmd.Context())
			if err != nil {
				return err
			}
			list, err := p.refunds(cmd.Context())
			if err != nil {
				return err
			}
			return a.printRefunds(slices.DeleteFunc(list, func(o owed) bool { return o.State != "claimable" }))
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use: "claim", Short: "take all of it into the wallet", Example: "  coinop refunds claim", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.claimAll(cmd.Context()) },
	})
	return cmd
}

func (a *app) printRefunds(list []owed) error {
	plain := client.RefundList{Refunds: []client.Refund{}}
	for _, o := range list {
		plain.Refunds = append(plain.Refunds, o.Refund)
	}
	return a.show(plain, func() {
		if len(list) == 0 {
			a.note("nothing waits to be claimed")
			return
		}
		rows := make([][]string, 0, len(list))
		for _, o := range list {
			rows = append(rows, []string{strconv.FormatUint(o.Refund.Refund, 10), money(o.AmountMicro), o.State, short(o.FundID), clock(o.Expires)})
		}
		a.grid([]string{"REFUND", "AMOUNT", "STATE", "FROM", "UNTIL"}, rows)
	})
}

// refunds asks for each secret of the wallet what its claim key may take.
func (p *purse) refunds(ctx context.Context) ([]owed, error) {
	var list []owed
	for _, kind := range []string{"job", "pot", "deposit"} {
		held, err := p.Secrets(ctx, p.mint, kind)
		if err != nil {
			return nil, err
		}
		for _, h := range held {
			secret := client.Secret(h.Secret)
			fund := secret.Key("fund")
			if kind == "deposit" {
				fund = h.Name
			}
			answer, err := p.api.Refunds(ctx, fund, secret.Key("claim"))
			if isNotFound(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, r := range answer.Refunds {
				list = append(list, owed{r, secret.Key("claim")})
			}
		}
	}
	return list, nil
}

func (a *app) claimAll(ctx context.Context) error {
	p, err := a.money(ctx)
	if err != nil {
		return err
	}
	list, err := p.refunds(ctx)
	if err != nil {
		return err
	}
	var taken []owed
	for _, o := range list {
		if o.State != "claimable" || o.AmountUnits == 0 {
			continue
		}
		if err := p.claim(ctx, o); err != nil {
			return err
		}
		o.State = "claimed"
		taken = append(taken, o)
	}
	return a.printRefunds(taken)
}

// claim has outputs signed for what is owed; like a payment it is written down first.
func (p *purse) claim(ctx context.Context, o owed) error {
	order := wallet.Order{
		Mint: p.mint, Purpose: "refund " + strconv.FormatUint(o.Refund.Refund, 10), Method: "POST",
		Path: "/v1/refunds", NoBlanks: true, Outputs: cashu.Split(cashu.Units(o.AmountUnits)), Free: true,
	}
	return p.renewed(ctx, func() error {
		payment, err := p.Prepare(ctx, order, func(d wallet.Draft) ([]byte, error) {
			return stored(client.PrepareClaim(o.Refund.Refund, d.ID, o.claim, client.ClaimRequest{Outputs: d.Outputs}))
		})
		return p.pay(ctx, payment, err, &sent{})
	})
}
