package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/drivers/gpu/nvml"
	gpuplugin "github.com/coinop/coinop/drivers/gpu/plugin"
	"github.com/coinop/coinop/drivers/plugin"
)

// gpuPluginVerb is how this binary, started again by an executor, provides GPUs. A process of its own loads NVIDIA's library.
func (a *app) gpuPluginVerb() *cobra.Command {
	config := nvml.Config{}
	cmd := &cobra.Command{
		Use:    "gpu",
		Short:  "provide GPUs to an executor",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !plugin.Asked() {
				return usageError{errors.New("this is how an executor starts its provider of GPUs; there is nothing to see here")}
			}
			config.Log = a.logger("")
			provider, err := nvml.New(config)
			if err != nil {
				return err
			}
			return gpuplugin.Serve(gpuplugin.ServeConfig{Provider: provider, Log: config.Log})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&config.Dir, "dir", "", "the provider's `FOLDER`")
	flags.StringVar(&config.Library, "library", "", "NVIDIA's management library, a `FILE`, if it is not where the linker finds it")
	flags.StringVar(&config.Root, "root", "/", "the `FOLDER` in which the driver's /dev and /proc lie")
	flags.BoolVar(&config.MIG, "mig", false, "turn MIG on and off as slices and whole GPUs are asked for")
	flags.IntVar(&config.Shares, "shares", 0, "how many tasks, `N`, may take turns on a GPU")
	flags.StringVar(&config.Settings.ComputeMode, "compute-mode", "", "a `MODE`: default, exclusive or prohibited")
	flags.StringVar(&config.Settings.Persistence, "persistence", "", "`on|off`: whether the driver stays loaded")
	flags.IntVar(&config.Settings.PowerLimitWatts, "power-limit", 0, "the most `WATTS` that a GPU may take")
	return cmd
}
