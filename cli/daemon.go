package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/plugin"
	"github.com/coinop/coinop/drivers/vm"
	"github.com/coinop/coinop/executor"
	"github.com/coinop/coinop/executor/identity"
)

// logger writes what a daemon has to say to standard error, or to a file.
func (a *app) logger(level string) *slog.Logger {
	var l slog.Level
	switch level {
	case "debug":
		l = slog.LevelDebug
	case "info":
		l = slog.LevelInfo
	case "error":
		l = slog.LevelError
	default:
		l = slog.LevelWarn
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: l}))
}

// machineConfig is one executor as the command line tells it.
type machineConfig struct {
	dir          string
	servers      []string
	token        string // a join token, for the first start
	name         string
	pool         string
	labels       map[string]string
	cpuMilli     int64
	memory       int64
	disk         int64
	user         string
	images       int64  // bytes that they may take; 0: imageBytes
	registryAuth string // a file
	localImages  bool   // also from this machine itself
	kernel       string // of virtual machines; "": there are none
	shares       []string
	plugins      string // a folder of other drivers; "": plugins in dir
	gpus         gpuFlags
	stopTasks    bool // end them with the executor, uncharged
}

// runMachine joins if it has to, and runs an executor with its drivers until ctx ends; ready is told when it takes work. Tasks live on in their shims
// unless stopTasks is set; the driver's process ends last, since stopping tasks needs it.
func (a *app) runMachine(ctx context.Context, c machineConfig, log *slog.Logger, ready func()) error {
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return err
	}
	if c.kernel != "" {
		if c.kernel, err = filepath.Abs(c.kernel); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("start executor: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start executor: %w", err)
	}
	plugins, absent, err := a.plugins(self, dir, c, log)
	if err != nil {
		return err
	}
	if err := a.addPlugins(plugins, absent, dir, c, log); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "drivers"), 0o700); err != nil {
		return fmt.Errorf("start executor: %w", err)
	}
	config := executor.Config{
		Dir: dir, Name: c.name, Pool: c.pool, Labels: c.labels, Version: a.version, Shares: c.shares,
		Drivers: map[string]drivers.Driver{}, Absent: absent,
		CPUMilli: c.cpuMilli, MemoryBytes: c.memory, DiskBytes: c.disk, User: c.user, StopTasks: c.stopTasks, Log: log, Ready: ready,
	}
	kept, err := a.provideGPUs(self, dir, c.gpus, &config, log)
	if err != nil {
		return err
	}
	for name, driver := range plugins {
		config.Drivers[name] = driver
		kept = append(kept, driver)
	}
	id, err := a.joinMachine(ctx, c, dir, log)
	if err != nil {
		return err
	}
	config.Servers = c.servers
	config.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return id.Dial(ctx, []string{addr}) }
	agent, err := executor.New(config)
	if err != nil {
		return err
	}
	drive, stopDrivers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDrivers()
	driven := make(chan error, len(kept))
	for _, process := range kept {
		go func() { driven <- process.Run(drive) }()
	}
	err = agent.Run(ctx)
	stopDrivers()
	for range kept {
		err = errors.Join(err, <-driven)
	}
	return err
}

// imageBytes is how much the images on a machine may take if nobody says.
const imageBytes = 20 << 30

// plugins are the built-in drivers that this machine may be able to use, and why not the others.
func (a *app) plugins(self, dir string, c machineConfig, log *slog.Logger) (map[string]*plugin.Client, map[string]string, error) {
	plugins, absent := map[string]*plugin.Client{}, map[string]string{}
	for _, name := range builtIn() {
		command := []string{self, "plugin", name, "--dir", filepath.Join(dir, "drivers", name)}
		if why := lacks(name, c); why != nil {
			absent[name] = why.Error()
			continue
		}
		if name != "process" {
			command = append(command, "--image-bytes", strconv.FormatInt(cmp.Or(c.images, imageBytes), 10), fmt.Sprintf("--local-images=%v", c.localImages))
			if c.registryAuth != "" {
				command = append(command, "--registry-auth", c.registryAuth)
			}
		}
		if name == "vm" {
			command = append(command, "--vm-kernel", c.kernel)
		}
		client, err := a.plugin(dir, name, log, command...)
		if err != nil {
			return nil, nil, err
		}
		plugins[name] = client
	}
	return plugins, absent, nil
}

// lacks says what a driver would need that is not here.
func lacks(name string, c machineConfig) error {
	switch {
	case name == "process":
		return nil
	case os.Geteuid() != 0:
		return errors.New("it needs root")
	case name == "vm":
		return vm.Installed(c.kernel)
	}
	return container.Installed()
}

// joinMachine is the executor's identity: the one in its folder, or a new one for the token.
func (a *app) joinMachine(ctx context.Context, c machineConfig, dir string, log *slog.Logger) (*identity.Identity, error) {
	path := filepath.Join(dir, "identity")
	id, err := identity.Load(path)
	if err == nil || !errors.Is(err, identity.ErrNotJoined) {
		return id, err
	}
	if c.token == "" {
		return nil, usageError{errors.New("this executor is not joined yet: give --token @FILE, made by `coinop operator token create --role executor`")}
	}
	log.Info("joining", "servers", c.servers, "name", c.name)
	return identity.Join(ctx, identity.JoinConfig{
		Dir: path, Servers: c.servers, Token: c.token, Name: c.name, Pool: c.pool, Version: a.version,
		Facts: identity.Facts{CPUMilli: c.cpuMilli, Memory: c.memory, Disk: c.disk},
	})
}

// hostName is this machine's name as a node's name may be.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "node"
	}
	name = strings.ToLower(strings.Split(name, ".")[0])
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, name), "-")
}
