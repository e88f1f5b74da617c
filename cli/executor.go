package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/scheduler/jobfile"
)

type executorFlags struct {
	dir, cluster, pool, name              string
	cpus, memory, disk, user, level       string
	images, registryAuth, plugins, kernel string
	localImages                           bool
	labels, shares                        []string
	config                                string
	gpus                                  gpuFlags
}

func (a *app) executorVerb() *cobra.Command {
	var f executorFlags
	cmd := &cobra.Command{
		Use:   "executor",
		Short: "make this machine run tasks",
		Long: "Make this machine run tasks. It joins with a token the first time; afterwards its folder says who it is.\n" +
			"Stopping it leaves its tasks alone: the next start finds them. Its standard output's first line, when it is joined\n" +
			"and takes work: ready NAME.",
		Example: "  coinop operator token create --role executor --token @operator.token > join.token\n" +
			"  coinop executor --dir /var/lib/coinop --cluster s1:2771,s2:2771,s3:2771 --token @join.token",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applyConfigFile(cmd, f.config); err != nil {
				return err
			}
			if f.dir == "" || f.cluster == "" {
				return usageError{fmt.Errorf("an executor needs --dir DIR and --cluster HOST:PORT")}
			}
			c, err := a.machineConfig(f)
			if err != nil {
				return err
			}
			return a.runMachine(cmd.Context(), c, a.logger(or(f.level, "info")), func() { fmt.Fprintf(a.out, "ready %s\n", c.name) })
		},
	}
	f.add(cmd)
	cmd.AddCommand(a.doctorVerb())
	return cmd
}

func (f *executorFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "dir", "", "its folder")
	fl.StringVar(&f.cluster, "cluster", "", "cluster ports of servers, HOST:PORT,...")
	fl.StringVar(&f.pool, "pool", "default", "the pool to join")
	fl.StringVar(&f.name, "name", "", "the node's name (default: the host's)")
	fl.StringVar(&f.cpus, "cpus", "", "CPUs to offer, also more than there are (default: all)")
	fl.StringVar(&f.memory, "memory", "", "memory to offer (default: all)")
	fl.StringVar(&f.disk, "disk", "", "disk to offer (default: what is free)")
	fl.StringVar(&f.user, "user", "", "whom tasks run as, where the pool names nobody")
	fl.StringVar(&f.images, "images", "", "the most `SIZE` that the images of containers may take, and as much again those of virtual machines (default: 20GiB)")
	fl.StringVar(&f.kernel, "vm-kernel", "", "the kernel of virtual machines, a `FILE`; without one there are none")
	fl.StringVar(&f.plugins, "plugins", "", "a `FOLDER` of programs that are drivers, each named like its file (default: plugins in its folder)")
	fl.StringVar(&f.registryAuth, "registry-auth", "", "credentials for registries, a `FILE` in the form of docker's config.json")
	fl.BoolVar(&f.localImages, "local-images", false, "also take images from this machine: paths, and registries on loopback (not for strangers' pools)")
	f.gpus.add(cmd)
	fl.StringArrayVar(&f.labels, "label", nil, "a label of the node as `NAME=VALUE`; may be given again")
	fl.StringArrayVar(&f.shares, "share", nil, "a `DIR` that this machine has in common with others, absolute: jobs of a pool that shares it may work there; may be given again")
	_ = cmd.MarkFlagDirname("share")
	fl.StringVar(&f.level, "log", "", "debug, info, warn or error")
	fl.StringVar(&f.config, "config", "", "file with the same settings: name = \"value\"")
}

func (a *app) machineConfig(f executorFlags) (machineConfig, error) {
	c := machineConfig{dir: f.dir, name: or(f.name, hostName()), pool: f.pool, user: f.user, plugins: f.plugins, localImages: f.localImages, gpus: f.gpus, kernel: f.kernel, shares: f.shares, labels: map[string]string{}}
	c.servers = strings.Split(f.cluster, ",")
	for _, l := range f.labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok || name == "" {
			return c, usageError{fmt.Errorf("--label %s: write NAME=VALUE", l)}
		}
		c.labels[name] = value
	}
	var err error
	for _, v := range []struct {
		flag, text string
		parse      func(string) (int64, error)
		to         *int64
	}{
		{"cpus", f.cpus, jobfile.ParseCPUs, &c.cpuMilli},
		{"memory", f.memory, jobfile.ParseSize, &c.memory},
		{"disk", f.disk, jobfile.ParseSize, &c.disk},
		{"images", f.images, jobfile.ParseSize, &c.images},
	} {
		if v.text == "" {
			continue
		}
		if *v.to, err = v.parse(v.text); err != nil {
			return c, usageError{fmt.Errorf("--%s: %w", v.flag, err)}
		}
	}
	if f.registryAuth != "" {
		if c.registryAuth, err = filepath.Abs(f.registryAuth); err != nil {
			return c, err
		}
	}
	if a.tokenFile != "" {
		if c.token, err = a.secretFile(a.tokenFile); err != nil {
			return c, err
		}
	}
	return c, nil
}
