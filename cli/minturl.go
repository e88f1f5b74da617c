package cli

import (
	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

func (a *app) mintURLVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "mint-url URL|none",
		Short: "the one URL by which tokens and payment requests name the mint",
		Long: "Give the mint its one public URL, at which wallets of all kinds reach it: tokens and payment requests name it,\n" +
			"whichever server has made them. With none, each server names the address that it was called by.",
		Example: "  coinop operator mint-url https://coinop.example/mint",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var m client.MintURL
			if args[0] != "none" {
				url, err := client.ParseMintURL(args[0])
				if err != nil {
					return usageError{err}
				}
				m.URL = url
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			if m, err = c.SetMintURL(cmd.Context(), m); err != nil {
				return err
			}
			return a.show(m, func() {
				if m.URL == "" {
					a.say("each server names itself as the mint")
					return
				}
				a.say("the mint is %s", m.URL)
			})
		},
	}
}
