package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor"
)

// askedMost is how long a driver has to say what it can do: it may start a virtual machine to find out.
const askedMost = 2 * time.Minute

// diagnosis is what a machine could offer.
type diagnosis struct {
	Works    bool      `json:"works"` // all that is needed does
	Findings []finding `json:"findings"`
}

// finding is one thing that a machine can or cannot do.
type finding struct {
	What    string   `json:"what"`
	Works   bool     `json:"works"`
	Needed  bool     `json:"needed"` // the settings ask for it
	Says    string   `json:"says"`
	Missing []string `json:"missing,omitempty"` // what it cannot do, and why
	Get     string   `json:"get,omitempty"`     // the command that gets it
}

func (a *app) doctorVerb() *cobra.Command {
	var f executorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "say what this machine could offer, what it lacks, and how to get it",
		Long: "Say what this machine could offer as an executor with these settings, what it lacks, and how to get it on Debian. It tries the\n" +
			"drivers in a folder of its own, needs no cluster and leaves nothing behind. Exit code 1: something does not work that the settings ask for\n" +
			"(processes always; virtual machines with --vm-kernel, containers with --registry-auth or --images, GPUs with a flag of theirs, and every plugin).",
		Example: "  coinop executor doctor\n  coinop executor doctor --config /etc/coinop/executor.hcl --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applyConfigFile(cmd, f.config); err != nil {
				return err
			}
			c, err := a.machineConfig(f)
			if err != nil {
				return err
			}
			d, err := a.diagnose(cmd.Context(), c)
			if err != nil {
				return err
			}
			if err := a.show(d, func() { a.printDiagnosis(d) }); err != nil || d.Works {
				return err
			}
			return exitCode(exitError)
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) printDiagnosis(d diagnosis) {
	for _, f := range d.Findings {
		mark := "ok"
		if !f.Works {
			mark = "no"
		}
		fmt.Fprintf(a.out, "%s  %-18s %s\n", mark, f.What, f.Says)
		for _, missing := range f.Missing {
			fmt.Fprintf(a.out, "      %s\n", missing)
		}
		if f.Get != "" {
			fmt.Fprintf(a.out, "      to get it: %s\n", f.Get)
		}
	}
}

// diagnose tries what an executor with these settings would have.
func (a *app) diagnose(ctx context.Context, c machineConfig) (d diagnosis, err error) {
	dir, err := os.MkdirTemp("", "coinop-doctor-")
	if err != nil {
		return d, fmt.Errorf("look at this machine: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		return d, fmt.Errorf("look at this machine: %w", err)
	}
	if c.plugins == "" && c.dir != "" {
		if own := filepath.Join(c.dir, "plugins"); exists(own) {
			c.plugins = own
		}
	}
	d.Findings = append(d.Findings, machineFound(), cgroupsFound(), namespacesFound(), userFound(c.user))
	found, err := a.driversFound(ctx, dir, c)
	if err != nil {
		return d, err
	}
	d.Findings, d.Works = append(d.Findings, found...), true
	for _, f := range d.Findings {
		d.Works = d.Works && (f.Works || !f.Needed)
	}
	return d, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// driversFound starts the drivers and the provider of GPUs as an executor would, in another folder, and asks them.
func (a *app) driversFound(ctx context.Context, dir string, c machineConfig) ([]finding, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("look at this machine: %w", err)
	}
	if c.kernel != "" {
		if c.kernel, err = filepath.Abs(c.kernel); err != nil {
			return nil, err
		}
	}
	mute, log := &app{version: a.version, in: a.in, out: io.Discard, err: io.Discard}, slog.New(slog.DiscardHandler)
	plugins, absent, err := mute.plugins(self, dir, c, log)
	if err != nil {
		return nil, err
	}
	if err := mute.addPlugins(plugins, absent, dir, c, log); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "drivers"), 0o700); err != nil {
		return nil, fmt.Errorf("look at this machine: %w", err)
	}
	var config executor.Config
	kept, err := mute.provideGPUs(self, dir, c.gpus, &config, log)
	if err != nil {
		return nil, err
	}
	for _, driver := range plugins {
		kept = append(kept, driver)
	}
	running, stop := context.WithCancel(ctx)
	var processes sync.WaitGroup
	defer processes.Wait()
	defer stop()
	for _, process := range kept {
		processes.Go(func() { _ = process.Run(running) }) // what it could not do, its driver says
	}
	asking, cancel := context.WithTimeout(ctx, askedMost)
	defer cancel()
	var asked sync.WaitGroup
	names := slices.Sorted(maps.Keys(plugins))
	found := make([]finding, len(names), len(names)+len(absent)+1)
	for i, name := range names {
		asked.Go(func() {
			description, err := plugins[name].Describe(asking)
			found[i] = driverFound(name, description, err)
		})
	}
	asked.Wait()
	for _, name := range slices.Sorted(maps.Keys(absent)) {
		found = append(found, finding{What: "driver " + name, Says: absent[name]})
	}
	for i, f := range found {
		name := strings.TrimPrefix(f.What, "driver ")
		found[i].Needed = c.needs(name)
		if !f.Works {
			found[i].Get = howToGet(name)
		}
	}
	return append(found, gpusFound(asking, config, c.gpus)), nil
}

// needs says whether somebody who sets up a machine so counts on a driver.
func (c machineConfig) needs(driver string) bool {
	switch driver {
	case "vm":
		return c.kernel != ""
	case "container":
		return c.registryAuth != "" || c.images != 0
	}
	return true // processes, and each plugin that was put there
}

// howToGet is what a bare Debian needs for a driver.
func howToGet(driver string) string {
	switch driver {
	case "container":
		return "apt-get install --no-install-recommends crun"
	case "vm":
		return "apt-get install --no-install-recommends qemu-system-x86 e2fsprogs linux-image-cloud-amd64  # then --vm-kernel /boot/vmlinuz-VERSION"
	}
	return ""
}

func driverFound(name string, d drivers.Description, err error) finding {
	f := finding{What: "driver " + name}
	if err != nil {
		f.Says = err.Error()
		return f
	}
	can := []string{}
	for _, ability := range []struct {
		name string
		has  bool
	}{{"pause", d.Pause}, {"suspend", d.Suspend}, {"exec", d.Exec}, {"network", d.Network}, {"images", d.Images}} {
		if ability.has {
			can = append(can, ability.name)
		}
	}
	f.Works, f.Says = true, fmt.Sprintf("isolation by %s; can %s", d.Isolation, or(strings.Join(append(can, d.Devices...), ", "), "run tasks"))
	if d.Note != "" {
		f.Missing = append(f.Missing, d.Note)
	}
	for _, limit := range d.Limits {
		switch {
		case !limit.Supported:
			f.Missing = append(f.Missing, fmt.Sprintf("cannot limit %s: %s", limit.Limit, limit.Reason))
		case limit.Reason != "":
			f.Missing = append(f.Missing, fmt.Sprintf("limits %s in part: %s", limit.Limit, limit.Reason))
		}
	}
	return f
}

func gpusFound(ctx context.Context, config executor.Config, g gpuFlags) finding {
	f := finding{What: "GPUs", Says: config.NoGPUs, Needed: g.library != "" || g.mig || g.shares > 0 || g.watts > 0}
	f.Get = "apt-get install --no-install-recommends nvidia-driver libnvidia-ml1  # of Debian's non-free"
	if config.GPUs == nil {
		return f
	}
	found, err := config.GPUs.Inventory(ctx)
	if err != nil {
		f.Says = err.Error()
		return f
	}
	if found.Note != "" {
		f.Missing = append(f.Missing, found.Note)
	}
	for _, name := range found.Missing {
		f.Missing = append(f.Missing, "the library has no "+name)
	}
	f.Says = fmt.Sprintf("%s; driver %s", count(len(found.Devices), "device"), or(found.Driver, "unknown"))
	if f.Works = len(found.Devices) > 0; f.Works {
		f.Get = ""
	}
	return f
}

func machineFound() finding {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // every Linux has it
	return finding{What: "machine", Works: true, Says: fmt.Sprintf("%s %s, kernel %s, %s, %s of memory", runtime.GOOS, runtime.GOARCH, strings.TrimSpace(string(kernel)),
		count(runtime.NumCPU(), "CPU"), size(executor.MemoryBytes()))}
}

// cgroupsFound says which version of control groups there is, and what they can limit.
func cgroupsFound() finding {
	const root = "/sys/fs/cgroup"
	f := finding{What: "control groups"}
	var controllers []string
	switch {
	case exists(filepath.Join(root, "cgroup.controllers")):
		text, _ := os.ReadFile(filepath.Join(root, "cgroup.controllers")) // empty then: it cannot limit anything
		controllers = strings.Fields(string(text))
		f.Says = "version 2"
	case exists(filepath.Join(root, "unified", "cgroup.procs")):
		f.Says = "versions 1 and 2 (hybrid)"
	case exists(filepath.Join(root, "memory")):
		f.Says = "version 1"
	default:
		f.Says = "none are mounted at " + root
		return f
	}
	for _, controller := range []string{"cpu", "memory", "pids"} {
		if !slices.Contains(controllers, controller) && !exists(filepath.Join(root, controller, "cgroup.procs")) {
			f.Missing = append(f.Missing, "no controller "+controller)
		}
	}
	f.Works = len(f.Missing) == 0
	return f
}

func namespacesFound() finding {
	f := finding{What: "user namespaces"}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	most := read("/proc/sys/user/max_user_namespaces")
	f.Works = most != "" && most != "0"
	f.Says = cmp.Or(most, "none") + " at most"
	if read("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
		f.Missing = append(f.Missing, "for root only (kernel.unprivileged_userns_clone is 0)")
	}
	if !f.Works {
		f.Get = "sysctl -w user.max_user_namespaces=10000"
	}
	return f
}

func userFound(name string) finding {
	f := finding{What: "tasks' user", Works: true, Needed: name != ""}
	if os.Geteuid() != 0 {
		f.Says = "tasks run as the executor's own user; only root can run them as another"
		f.Works = name == ""
		return f
	}
	who := or(name, "coinop-task")
	if _, err := user.Lookup(who); err != nil {
		f.Works, f.Says = false, fmt.Sprintf("there is no user %s; tasks would run as nobody", who)
		f.Get = "useradd --system --no-create-home --shell /usr/sbin/nologin " + who
		return f
	}
	f.Says = who
	return f
}
