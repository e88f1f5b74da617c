package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/drivers/gpu/nvml"
	gpuplugin "github.com/coinop/coinop/drivers/gpu/plugin"
	"github.com/coinop/coinop/drivers/plugin/keep"
	"github.com/coinop/coinop/executor"
)

// gpuFlags say how a machine's GPUs are provided.
type gpuFlags struct {
	library, root string
	mig           bool
	shares, watts int
	none          string // why there are none whatever is installed
}

func (g *gpuFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&g.library, "gpu-library", "", "NVIDIA's management library, a `FILE`, where the linker does not find it")
	fl.StringVar(&g.root, "gpu-root", "/", "the `FOLDER` in which the /dev, /proc and libraries of NVIDIA's driver lie")
	fl.BoolVar(&g.mig, "mig", false, "cut GPUs into MIG slices as they are asked for, and join them again for who asks for whole ones")
	fl.IntVar(&g.shares, "gpu-shares", 0, "sell a GPU as up to `N` time-sliced shares too (nothing divides its memory among them)")
	fl.IntVar(&g.watts, "gpu-power-limit", 0, "the most `WATTS` that a GPU may take")
}

func (g *gpuFlags) check() error {
	if g.shares < 0 || g.watts < 0 {
		return usageError{fmt.Errorf("--gpu-shares %d and --gpu-power-limit %d: not below 0", g.shares, g.watts)}
	}
	return nil
}

// keeper keeps a process of the machine's running.
type keeper interface {
	Run(ctx context.Context) error
}

// provideGPUs gives an executor the provider of its GPUs, if there can be any. A machine without NVIDIA's driver works without, and
// says so.
func (a *app) provideGPUs(self, dir string, g gpuFlags, config *executor.Config, log *slog.Logger) ([]keeper, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	if config.NoGPUs = g.none; g.none != "" {
		return nil, nil
	}
	if g.library == "" {
		if err := nvml.Installed(g.root); err != nil {
			config.NoGPUs = err.Error()
			return nil, nil
		}
	}
	own := filepath.Join(dir, "drivers", "gpu")
	command := []string{self, "plugin", "gpu", "--dir", own, fmt.Sprintf("--mig=%v", g.mig), "--shares", strconv.Itoa(g.shares)}
	for flag, path := range map[string]string{"--library": g.library, "--root": g.root} {
		if path == "" {
			continue
		}
		full, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		command = append(command, flag, full)
	}
	if g.watts > 0 { // which the driver forgets when nobody holds it open, unless it is told to stay
		command = append(command, "--power-limit", strconv.Itoa(g.watts), "--persistence", "on")
	}
	provider, err := gpuplugin.New(keep.Config{
		Dir: filepath.Join(dir, "sockets", "gpu"), Command: command, Env: []string{"PATH=" + os.Getenv("PATH")}, Stderr: a.err, Log: log,
	})
	if err != nil {
		return nil, err
	}
	config.GPUs, config.GPUSpecs = provider, filepath.Join(own, "cdi")
	return []keeper{provider}, nil
}
