package process

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/coinop/coinop/drivers/shim"
)

// probe starts a task that cannot be executed, in namespaces of its own, and so finds out whether this machine allows them: a
// container around us may forbid any step of it, in too many ways to be judged otherwise. The answer is why not.
func (d *Driver) probe(dir string) string {
	if os.Geteuid() != 0 {
		return "needs root"
	}
	dir, err := os.MkdirTemp(dir, "probe-")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	said, err := d.Try(shim.Spec{
		Record: filepath.Join(dir, "record"), LogDir: filepath.Join(dir, "task", "logs"), WorkDir: dir, Argv: []string{dir}, Private: true,
	})
	if err != nil {
		return err.Error()
	}
	if !strings.HasPrefix(said, "execute ") {
		return "tasks of one user can see and signal each other: " + said
	}
	return ""
}
