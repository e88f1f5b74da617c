package cmdline

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coinop/coinop/cli"
	"github.com/coinop/coinop/testbed/cluster"
)

// The shared cluster, for scripts: its address and its folder, in which its wallet and the operator's token lie.
const (
	envShared    = "CMDLINE_SHARED"
	envSharedDir = "CMDLINE_DIR"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "plugin" { // an executor starts this binary again as a driver
		os.Exit(cli.Main("v0.0.0-test", os.Args[1:]))
	}
	testscript.Main(suite{m}, map[string]func(){
		"coinop":  func() { os.Exit(cli.Main("v0.0.0-test", os.Args[1:])) },
		"rawpay":  func() { os.Exit(rawpay(os.Args[1:])) },
		"ask":     func() { os.Exit(ask(os.Args[1:])) },
		"operate": func() { os.Exit(operate(os.Args[1:])) },
	})
}

// suite runs the tests beside a cluster that those share which do not change it.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // scripts mostly wait for servers
	dir, err := cluster.TempDir("coinop-cmdline")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	d, err := startDev(dir, "--cpus", "64")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer d.stop()
	os.Setenv(envShared, d.addr)
	os.Setenv(envSharedDir, dir)
	return s.m.Run()
}

func TestScripts(t *testing.T) {
	root := filepath.Join(os.Getenv(envSharedDir), "work")
	if err := os.Mkdir(root, 0o711); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", WorkdirRoot: root, Setup: setup, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"dev": ownDev, "money": money, "exits": exits, "until": until,
			"keys": keys, "json": jsonIs, "get": get, "before": before, "same": same,
			"ports": ports, "start": start, "end": end,
		},
	})
}

func setup(env *testscript.Env) error {
	dir := os.Getenv(envSharedDir)
	env.Setenv("COINOP_ADDR", os.Getenv(envShared))
	env.Setenv("COINOP_HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("BANK", dir)
	env.Setenv("OPERATOR", "@"+filepath.Join(dir, "dev", "server", "operator.token"))
	env.Setenv("TZ", "UTC")
	env.Values[kept{}] = &kept{}
	env.Values[daemonsOf{}] = daemons{}
	return os.Chmod(env.WorkDir, 0o711)
}

// dev is a cluster in a process of its own.
type dev struct {
	addr string
	cmd  *exec.Cmd
}

// startDev starts `coinop dev` with its folder and its wallet below dir, and returns when it is ready.
func startDev(dir string, flags ...string) (*dev, error) {
	args := append([]string{"dev", "--dir", filepath.Join(dir, "dev"), "--http", "127.0.0.1:0", "--log", "error"}, flags...)
	d := &dev{cmd: exec.Command("coinop", args...)}
	d.cmd.Env = append(os.Environ(), "COINOP_HOME="+filepath.Join(dir, "bank"))
	d.cmd.Stderr = os.Stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("coinop dev said %q", line), err, d.stop())
	}
	d.addr = addr
	return d, nil
}

// stop ends it as Ctrl-C would, its tasks with it.
func (d *dev) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = d.cmd.Process.Kill() })
	defer stop()
	return errors.Join(d.cmd.Process.Signal(syscall.SIGTERM), d.cmd.Wait())
}
