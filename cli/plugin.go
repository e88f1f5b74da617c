package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/image"
	"github.com/coinop/coinop/drivers/container/image/source"
	"github.com/coinop/coinop/drivers/plugin"
	"github.com/coinop/coinop/drivers/process"
	"github.com/coinop/coinop/drivers/vm"
	"github.com/coinop/coinop/drivers/vm/monitor"
)

// pluginVerb is how this binary, started again by an executor, becomes a driver's process.
func (a *app) pluginVerb() *cobra.Command {
	var c driverFlags
	cmd := &cobra.Command{
		Use:    "plugin process|container|vm",
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
			return c.serve(args[0], a.version, a.logger(""))
		},
	}
	cmd.Flags().StringVar(&c.dir, "dir", "", "the driver's folder")
	cmd.Flags().StringVar(&c.auth, "registry-auth", "", "a `FILE` of credentials for registries")
	cmd.Flags().Int64Var(&c.bytes, "image-bytes", 0, "the most `BYTES` that its images may take")
	cmd.Flags().BoolVar(&c.local, "local-images", false, "take images from this machine too")
	cmd.Flags().StringVar(&c.kernel, "vm-kernel", "", "the kernel of virtual machines, a `FILE`")
	cmd.AddCommand(a.gpuPluginVerb(), monitorVerb())
	return cmd
}

// monitorVerb is how this binary stands beside a virtual machine.
func monitorVerb() *cobra.Command {
	return &cobra.Command{
		Use: monitorWord + " FOLDER", Short: "stand beside a virtual machine", Hidden: true, Args: cobra.ExactArgs(1),
		Run: func(_ *cobra.Command, args []string) { monitor.Run(args[0]) },
	}
}

const monitorWord = "vm-monitor"

// builtIn lists the drivers that are this binary, started again.
func builtIn() []string { return []string{"process", "container", "vm"} }

// driverFlags are what a driver is told.
type driverFlags struct {
	dir    string
	auth   string
	bytes  int64
	local  bool
	kernel string
}

func (c driverFlags) serve(name, version string, log *slog.Logger) (err error) {
	if name == "process" {
		driver, err := process.New(process.Config{Dir: c.dir, Log: log})
		if err != nil {
			return err
		}
		return plugin.Serve(plugin.ServeConfig{Driver: driver, Version: version, Log: log})
	}
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
	driver, err := c.withImages(name, images, log)
	if err != nil {
		return err
	}
	return plugin.Serve(plugin.ServeConfig{Driver: driver, Version: version, Log: log})
}

func (c driverFlags) withImages(name string, images container.Registry, log *slog.Logger) (plugin.Runner, error) {
	if name == "container" {
		return container.New(container.Config{Dir: c.dir, Images: images, Log: log})
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return vm.New(vm.Config{
		Dir: c.dir, Kernel: c.kernel, Images: images, Local: c.local, DiskBytes: c.bytes, Program: []string{self, "plugin", monitorWord}, Log: log,
	})
}
