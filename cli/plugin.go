package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/drivers/plugin"
	"github.com/coinop/coinop/drivers/process"
)

// pluginVerb is how this binary, started again by an executor, becomes a driver's process.
func (a *app) pluginVerb() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:    "plugin process",
		Short:  "be a driver for an executor",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] != "process" {
				return usageError{fmt.Errorf("there is no built-in driver %q", args[0])}
			}
			if !plugin.Asked() {
				return usageError{fmt.Errorf("this is how an executor starts its drivers; there is nothing to see here")}
			}
			log := a.logger("")
			driver, err := process.New(process.Config{Dir: dir, Log: log})
			if err != nil {
				return err
			}
			return plugin.Serve(plugin.ServeConfig{Driver: driver, Log: log})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the driver's folder")
	return cmd
}
