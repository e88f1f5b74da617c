package cli

import (
	"context"
	"fmt"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/server"
)

// voucher is the rail by which an operator issues coins against nothing but its word.
const voucher = "voucher"

func (a *app) issueVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "issue N",
		Short: "make N credits out of nothing but your word, into this wallet",
		Long: "Issue vouchers: a paid quote, locked to a key of this wallet (NUT-20), is turned into coins. They are the\n" +
			"operator's debt: hand them out with `coinop wallet send`.",
		Example: "  coinop operator issue 1000000 --token @srv/operator.token",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			units, err := wholeUnits(args[0])
			if err != nil {
				return err
			}
			if err := a.issue(cmd.Context(), int64(units), ""); err != nil {
				return err
			}
			return a.show(map[string]any{"units": uint64(units)}, func() { a.say("%d issued", units) })
		},
	}
}

// issue makes coins in the wallet. A key that is given makes a repetition harmless.
func (a *app) issue(ctx context.Context, units int64, key string) error {
	p, err := a.money(ctx)
	if err != nil {
		return err
	}
	lock, err := p.NewQuoteKey(ctx)
	if err != nil {
		return err
	}
	if key == "" {
		key = ulid.Make().String()
	}
	quote, err := p.api.Issue(ctx, key, client.IssueRequest{Units: units, Pubkey: lock})
	if err != nil {
		return err
	}
	return p.renewed(ctx, func() error {
		_, err := p.Issue(ctx, p.mint, voucher, quote)
		return err
	})
}

func (a *app) secretVerb() *cobra.Command {
	cmd := &cobra.Command{Use: "secret", Short: "the mint's secret", Args: cobra.NoArgs,
		Example: "  coinop operator secret export --dir srv", RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var dir string
	export := &cobra.Command{
		Use: "export", Short: "print the mint's recovery words from a server's folder",
		Long: "Print the mint's recovery words from a server's folder, on the server's own machine: they never travel.\n" +
			"With a snapshot they bring the cluster back. Whoever has them can make coins.",
		Example: "  coinop operator secret export --dir srv", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if dir == "" {
				return usageError{fmt.Errorf("name the server's folder: --dir DIR")}
			}
			epochs, err := server.RecoveryWords(dir)
			if err != nil {
				return err
			}
			return a.show(epochs, func() {
				for _, e := range epochs {
					fmt.Fprintf(a.out, "epoch %d: %s\n", e.Epoch, e.Words)
				}
			})
		},
	}
	export.Flags().StringVar(&dir, "dir", "", "the server's folder")
	cmd.AddCommand(export)
	return cmd
}
