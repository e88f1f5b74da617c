package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/mdp/qrterminal/v3"
	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/wallet"
)

func (a *app) walletVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use: "wallet", Short: "the coins in COINOP_HOME: balance, history, send, receive, restore", Args: cobra.NoArgs,
		Example: "  coinop wallet balance", RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.balanceVerb(), a.movementsVerb(), a.sendVerb(), a.receiveVerb(), a.wordsVerb(), a.restoreVerb())
	return cmd
}

// balanceLine is one mint's part of `wallet balance --json`, in whole units.
type balanceLine struct {
	Mint     string `json:"mint"`
	Unit     string `json:"unit"`
	Free     uint64 `json:"free"`
	Reserved uint64 `json:"reserved"`
	Lost     uint64 `json:"lost,omitempty"`
}

func (a *app) balanceVerb() *cobra.Command {
	return &cobra.Command{
		Use: "balance", Short: "what this wallet has, after collecting change", Args: cobra.NoArgs, Example: "  coinop wallet balance --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.money(cmd.Context())
			if codeOf(err) == exitUnreachable {
				a.note("no server answers, so change may be missing: %v", err)
				p, err = a.openWallet(cmd.Context())
			}
			if err != nil {
				return err
			}
			balances, err := p.Balances(cmd.Context())
			if err != nil {
				return err
			}
			lines := make([]balanceLine, 0, len(balances))
			for _, b := range balances {
				lines = append(lines, balanceLine{b.Mint, b.Unit, uint64(b.Free), uint64(b.Reserved), uint64(b.Lost)})
			}
			return a.show(lines, func() {
				rows := make([][]string, 0, len(lines))
				for _, l := range lines {
					rows = append(rows, []string{strconv.FormatUint(l.Free, 10), l.Unit, strconv.FormatUint(l.Reserved, 10), l.Mint})
				}
				if len(rows) == 0 {
					a.note("the wallet is empty")
					return
				}
				a.grid([]string{"FREE", "UNIT", "UNDER WAY", "MINT"}, rows)
			})
		},
	}
}

func (a *app) movementsVerb() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "history", Short: "what came and went, the newest first", Args: cobra.NoArgs, Example: "  coinop wallet history --limit 20",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.openWallet(cmd.Context())
			if err != nil {
				return err
			}
			moves, err := p.History(cmd.Context(), limit)
			if err != nil {
				return err
			}
			return a.show(moves, func() {
				rows := make([][]string, 0, len(moves))
				for _, m := range moves {
					rows = append(rows, []string{clock(&m.At), m.Kind, fmt.Sprintf("%+d", m.Amount), m.Unit, m.Purpose})
				}
				a.grid([]string{"AT", "WHAT", "AMOUNT", "UNIT", "FOR"}, rows)
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "how many")
	return cmd
}

func (a *app) sendVerb() *cobra.Command {
	var (
		memo string
		qr   bool
	)
	cmd := &cobra.Command{
		Use: "send N", Short: "print a token worth N: whoever receives it first has the money", Args: cobra.ExactArgs(1),
		Example: "  coinop wallet send 500 > token", RunE: func(cmd *cobra.Command, args []string) error {
			units, err := wholeUnits(args[0])
			if err != nil {
				return err
			}
			p, err := a.money(cmd.Context())
			if err != nil {
				return err
			}
			var token wallet.Token
			public := p.public(cmd.Context())
			err = p.renewed(cmd.Context(), func() (err error) {
				token, err = p.Send(cmd.Context(), p.mint, "", units, memo, public)
				return err
			})
			if err != nil {
				return moneyShort(err)
			}
			return a.show(map[string]any{"token": token.Text, "units": uint64(token.Amount)}, func() {
				fmt.Fprintln(a.out, token.Text)
				if qr {
					qrterminal.GenerateHalfBlock(token.Text, qrterminal.L, a.err)
				}
			})
		},
	}
	cmd.Flags().StringVar(&memo, "memo", "", "a line for the receiver")
	cmd.Flags().BoolVar(&qr, "qr", false, "draw it as a QR code too")
	return cmd
}

func (a *app) receiveVerb() *cobra.Command {
	return &cobra.Command{
		Use: "receive @FILE|-", Short: "take a token's coins by swapping them at once", Args: cobra.ExactArgs(1),
		Example: "  coinop wallet receive @token", RunE: func(cmd *cobra.Command, args []string) error {
			text, err := a.secretFile(args[0])
			if err != nil {
				return err
			}
			p, err := a.money(cmd.Context())
			if err != nil {
				return err
			}
			var units cashu.Units
			err = p.renewed(cmd.Context(), func() (err error) {
				units, err = p.Receive(cmd.Context(), text)
				return err
			})
			if err != nil {
				return err
			}
			return a.show(map[string]any{"units": uint64(units)}, func() { a.say("%d received", units) })
		},
	}
}

func (a *app) wordsVerb() *cobra.Command {
	return &cobra.Command{
		Use: "words", Short: "print the twelve recovery words: whoever has them has the coins", Args: cobra.NoArgs,
		Example: "  coinop wallet words", RunE: func(cmd *cobra.Command, _ []string) error {
			words, err := a.words(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(map[string]string{"words": words}, func() { fmt.Fprintln(a.out, words) })
		},
	}
}

// words are wanted most where the wallet is damaged.
func (a *app) words(ctx context.Context) (string, error) {
	p, err := a.openWallet(ctx)
	if err == nil {
		return p.Words(), nil
	}
	dir, failed := home()
	if failed != nil {
		return "", err
	}
	words, failed := wallet.ReadWords(filepath.Join(dir, "wallet"))
	if failed != nil {
		return "", errors.Join(err, failed)
	}
	a.note("%v%s", err, aboutWallet(err))
	return words, nil
}

func (a *app) restoreVerb() *cobra.Command {
	return &cobra.Command{
		Use: "restore @FILE|-", Short: "find this wallet's coins again from its twelve words", Args: cobra.ExactArgs(1),
		Long:    "Find a wallet's coins again at the cluster's mint from its twelve words, change of ended jobs too. COINOP_HOME must hold no\nother wallet. It may be repeated: change that comes later is found by a later one.",
		Example: "  coinop wallet restore @words", RunE: func(cmd *cobra.Command, args []string) error {
			words, err := a.secretFile(args[0])
			if err != nil {
				return err
			}
			return a.restore(cmd.Context(), words)
		},
	}
}

func (a *app) restore(ctx context.Context, words string) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	dir, err := home()
	if err != nil {
		return err
	}
	w, err := a.openPurse(ctx, c, wallet.Config{Dir: filepath.Join(dir, "wallet"), Words: words})
	if err != nil {
		return err
	}
	if err := w.use(ctx); err != nil {
		return err
	}
	found, err := w.Restore(ctx, w.mint)
	if err != nil {
		return err
	}
	return a.show(found, func() {
		for _, unit := range sortedKeys(found.Amount) {
			a.say("%d %s in %d coins restored", found.Amount[unit], unit, found.Coins)
		}
		if len(found.Amount) == 0 {
			a.say("these words have no coins at this mint")
		}
	})
}

func writePotSecret(path string, secret client.Secret) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the pot's secret: %w", err)
	}
	err := writeSecretFile(path, potPrefix+secret.Hex())
	if errors.Is(err, os.ErrExist) {
		return usageError{fmt.Errorf("%s exists; name another file for the pot's secret with --out", path)}
	}
	if err != nil {
		return fmt.Errorf("keep the pot's secret: %w", err)
	}
	return nil
}
