//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/plugin"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/testbed/cluster"
)

// buildExample builds the example driver as its reader does: in a module of its own, with nothing fetched that coinop has not.
func buildExample(t *testing.T, binary string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	must(t, err)
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(filepath.Join(root, "docs", "driver"))))
	module, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	must(t, err)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(strings.Replace(string(module), "=> ../..", "=> "+root, 1)), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644))
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod", "GOPROXY=off", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("build", "-o", binary, ".")
	ours := "github.com/coinop/coinop/"
	for _, path := range strings.Fields(run("list", "-f", `{{join .Imports " "}}`, ".")) {
		below, found := strings.CutPrefix(path, ours)
		if found && !slices.Contains([]string{"drivers", "drivers/plugin", "drivers/watch", "drivers/logs"}, below) {
			t.Errorf("the example imports %s, which is nothing for strangers", path)
		}
	}
}

// A driver from outside of this repository keeps every promise that it makes.
func TestTheExampleDriverKeepsTheContract(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the example needs root")
	}
	binary := filepath.Join(t.TempDir(), "unshare")
	buildExample(t, binary)
	dir, base := t.TempDir(), t.TempDir()
	config := plugin.Config{
		Name: "unshare", Dir: filepath.Join(dir, "socket"), Command: []string{binary, "--dir", filepath.Join(dir, "state")}, Stderr: os.Stderr,
	}
	driver, err := plugin.New(config)
	must(t, err)
	ended := make(chan error, 1)
	ctx, end := context.WithCancel(context.Background())
	go func() { ended <- driver.Run(ctx) }()
	t.Cleanup(func() {
		end()
		must(t, <-ended)
	})
	drivertest.Run(t, drivertest.Harness{
		Driver: func() drivers.Driver { return driver }, Now: shim.Boottime, Programs: true, Mark: "EXAMPLETEST=" + dir,
		Folder: func() (string, error) { return os.MkdirTemp(base, "task-") },
		Exit:   func(code int) []string { return []string{"/bin/sh", "-c", "exit " + strconv.Itoa(code)} },
		Block:  []string{"sleep", "1000"}, Stubborn: []string{"/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1000; done`},
		UID: 65534, GID: 65534,
		Leaks: func() ([]string, error) { return filepath.Glob(filepath.Join(dir, "state", "*")) },
		Restart: func() error {
			note, err := os.ReadFile(filepath.Join(config.Dir, "plugin.json"))
			var found struct{ Pid int }
			if err == nil {
				err = json.Unmarshal(note, &found)
			}
			return errors.Join(err, syscall.Kill(found.Pid, syscall.SIGKILL))
		},
	})
}

// The example lies in a machine's folder of plugins, beside what is no driver. It runs a job, through the death of its process.
func TestPluginsOfAFolderAreOfferedOrSaidWhyNot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the example needs root")
	}
	ctx, c := newCluster(t)
	folder := filepath.Join(c.Dir, "dev", "n1", "plugins")
	must(t, os.MkdirAll(folder, 0o755))
	for _, dir := range []string{filepath.Join(c.Dir, "dev"), filepath.Join(c.Dir, "dev", "n1")} {
		must(t, os.Chmod(dir, 0o711))
	}
	buildExample(t, filepath.Join(folder, "unshare"))
	program := func(name, text string, mode fs.FileMode) {
		must(t, os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+text+"\n"), mode))
		must(t, os.Chmod(filepath.Join(folder, name), mode))
	}
	program("broken", "exit 3", 0o755)
	program("hangs", "exec sleep 1000", 0o755)
	program("newer", "echo '1|9|unix|/nowhere|grpc'; exec sleep 1000", 0o755)
	program("open", "exit 0", 0o777)
	program("others", "exit 0", 0o755)
	must(t, os.Chown(filepath.Join(folder, "others"), 65534, 65534))
	program("plain", "exit 0", 0o644)
	program("process", "exit 0", 0o755)
	example, err := os.ReadFile(filepath.Join(folder, "unshare"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(folder, "another"), example, 0o755))

	addr, err := cluster.FreeAddr()
	must(t, err)
	h := c.Home("user", addr, "")
	must(t, c.StartDev(ctx, h, "--cpus", "2"))
	reasons := map[string]string{
		"unshare": "", "process": "", "broken": "it is no plugin", "hangs": "timeout", "newer": "version", "open": "chmod go-w", "others": "chown", "plain": "chmod u+x",
		"another": `calls itself "unshare"`,
	}
	must(t, cluster.Until(ctx, time.Minute, "all plugins are offered or left out", func() (bool, error) {
		var list client.NodeList
		if err := h.JSON(ctx, &list, "nodes", "-v"); err != nil {
			return false, err
		}
		var wrong []error
		found := map[string]client.DriverFacts{}
		for _, d := range list.Nodes[0].DriverFacts {
			found[d.Driver] = d
		}
		for name, reason := range reasons {
			d, known := found[name]
			if !known || (d.State == "up") != (reason == "") || !strings.Contains(d.Reason, reason) {
				wrong = append(wrong, errors.New(name+" is "+d.State+": "+d.Reason))
			}
		}
		d := found["unshare"]
		if d.Version != "1" || d.Isolation != "process" || !slices.Equal(d.Can, []string{"pause", "network"}) {
			wrong = append(wrong, errors.New("of unshare it is told otherwise: "+d.Version+" "+d.Isolation))
		}
		return len(wrong) == 0, errors.Join(wrong...)
	}))
	set, err := h.Run(ctx, "operator", "pool", "set", "default", "--drivers", "process,unshare", "--token", "@"+filepath.Join(c.Dir, "dev", "server", "operator.token"))
	must(t, err)
	if set.Code != 0 {
		t.Fatal(set.Stderr)
	}
	undisturbed(t, ctx, h, submit(t, ctx, h, job("--driver", "unshare", "--", "sh", "-c", "[ $(ls -d /proc/[0-9]* | wc -l) -lt 10 ] && echo alone")...), "alone\n")
	long := submit(t, ctx, h, job("--driver", "unshare", "--", "sh", "-c", "sleep 5; echo still here")...)
	await(t, ctx, h, long, "running")
	pids, err := cluster.Processes(c.Dir)
	must(t, err)
	for _, pid := range pids {
		line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if strings.HasPrefix(string(line), filepath.Join(folder, "unshare")+"\x00--dir") {
			must(t, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	undisturbed(t, ctx, h, long, "still here\n")
}
