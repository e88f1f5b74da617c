package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"github.com/coinop/coinop/drivers/plugin"
)

// driverName is what a pool may call a driver.
const driverName = `^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`

// addPlugins adds the drivers of strangers that lie in a machine's folder of plugins, each named like its file, and says of
// those that are left out why.
func (a *app) addPlugins(plugins map[string]*plugin.Client, absent map[string]string, dir string, c machineConfig, log *slog.Logger) error {
	folder := c.plugins
	if folder == "" {
		folder = filepath.Join(dir, "plugins")
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) && c.plugins == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for plugins: %w", err)
	}
	form := regexp.MustCompile(driverName)
	for _, entry := range entries {
		name, path := entry.Name(), filepath.Join(folder, entry.Name())
		if !form.MatchString(name) {
			log.Warn("this is no plugin: a driver's name is lower-case letters, digits, dots and dashes", "file", path)
			continue
		}
		if slices.Contains(builtIn(), name) {
			log.Warn("a plugin is left out: its name is that of a driver of coinop's own", "file", path)
			continue
		}
		err := trusted(folder)
		if err == nil {
			err = trusted(path)
		}
		if err != nil {
			absent[name] = err.Error()
			continue
		}
		state := filepath.Join(dir, "drivers", name)
		if plugins[name], err = a.plugin(dir, name, log, path, "--dir", state); err != nil {
			return err
		}
	}
	return nil
}

// plugin is a driver that is a program of its own.
func (a *app) plugin(dir, name string, log *slog.Logger, command ...string) (*plugin.Client, error) {
	return plugin.New(plugin.Config{
		Name: name, Dir: filepath.Join(dir, "sockets", name), Command: command, Env: []string{"PATH=" + os.Getenv("PATH")}, Stderr: a.err, Log: log,
	})
}

// trusted says why what lies there is not to be run with our rights: somebody else could put another program in its place.
func trusted(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	mode, own := info.Mode(), uint32(os.Geteuid())
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case owner != own && owner != 0:
		return fmt.Errorf("%s belongs to user %d, and would run as user %d: chown it", path, owner, own)
	case mode.Perm()&0o022 != 0 && mode&fs.ModeSymlink == 0:
		return fmt.Errorf("others than its owner may write to %s: chmod go-w it", path)
	case mode.IsDir():
		return nil
	case !mode.IsRegular():
		return fmt.Errorf("%s is no plain file: put the program itself there", path)
	case mode.Perm()&0o100 == 0:
		return fmt.Errorf("%s may not be executed: chmod u+x it", path)
	}
	return nil
}
