package process

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/coinop/coinop/drivers/shim"
)

// probe starts a task that cannot be executed, in namespaces of its own, and so finds out whether this machine allows them: a
// container around us may forbid any step of it, in too many ways to be judged otherwise. The answer is why not.
func (d *Driver) probe() string {
	if os.Geteuid() != 0 {
		return "needs root"
	}
	dir, err := os.MkdirTemp(d.config.Dir, "probe-")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	record := filepath.Join(dir, "record")
	pid, err := shim.Start(d.shim, shim.Spec{
		Record: record, LogDir: filepath.Join(dir, "task", "logs"), WorkDir: dir, Argv: []string{dir}, Private: true,
	}, func() error { return nil })
	if err != nil {
		return err.Error()
	}
	reap(pid)
	r, err := shim.ReadExit(record)
	if err != nil {
		return err.Error()
	}
	if said := explain(r.Text()); !strings.HasPrefix(said, "execute ") {
		return "tasks of one user can see and signal each other: " + said
	}
	return ""
}
