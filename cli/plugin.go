package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/image"
	"github.com/coinop/coinop/drivers/container/image/source"
	"github.com/coinop/coinop/drivers/plugin"
	"github.com/coinop/coinop/drivers/process"
)

// pluginVerb is how this binary, started again by an executor, becomes a driver's process.
func (a *app) pluginVerb() *cobra.Command {
	var dir, auth string
	var images int64
	var local bool
	cmd := &cobra.Command{
		Use:    "plugin process|container",
		Short:  "be a driver for an executor",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains(builtIn(), args[0]) {
				return usageError{fmt.Errorf("there is no built-in driver %q", args[0])}
			}
			if !plugin.Asked() {
				return usageError{fmt.Errorf("this is how an executor starts its drivers; there is nothing to see here")}
			}
			log := a.logger("")
			if args[0] == "container" {
				return serveContainers(containers{dir: dir, auth: auth, bytes: images, local: local}, log)
			}
			driver, err := process.New(process.Config{Dir: dir, Log: log})
			if err != nil {
				return err
			}
			return plugin.Serve(plugin.ServeConfig{Driver: driver, Log: log})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the driver's folder")
	cmd.Flags().StringVar(&auth, "registry-auth", "", "a `FILE` of credentials for registries")
	cmd.Flags().Int64Var(&images, "image-bytes", 0, "the most `BYTES` that its images may take")
	cmd.Flags().BoolVar(&local, "local-images", false, "take images from this machine too")
	cmd.AddCommand(a.gpuPluginVerb())
	return cmd
}

// builtIn lists the drivers that are this binary, started again.
func builtIn() []string { return []string{"process", "container"} }

// containers is what a container driver is told.
type containers struct {
	dir   string
	auth  string
	bytes int64
	local bool
}

func serveContainers(c containers, log *slog.Logger) (err error) {
	images := container.Registry{Local: c.local}
	if c.auth != "" {
		if images.Auth, err = source.ReadAuth(c.auth); err != nil {
			return err
		}
	}
	if images.Store, err = image.Open(image.Config{Dir: filepath.Join(c.dir, "images"), LimitBytes: c.bytes}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.Store.Close()) }()
	driver, err := container.New(container.Config{Dir: c.dir, Images: images, Log: log})
	if err != nil {
		return err
	}
	return plugin.Serve(plugin.ServeConfig{Driver: driver, Log: log})
}
