package container

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/tasks"
)

// Exec implements drivers.Driver. For a command the runtime starts the shim's program in the container once more, which waits until it is in
// the task's cgroups, starts the command and says how it ended.
func (d *Driver) Exec(ctx context.Context, id string, r drivers.ExecRequest, streams drivers.ExecStreams) (drivers.Exit, error) {
	if r.Connect != 0 {
		return d.Connect(ctx, id, r.Connect, streams)
	}
	if err := tasks.CheckExec(id, r); err != nil {
		return drivers.Exit{}, err
	}
	dir, err := d.Running(ctx, id)
	if err != nil {
		return drivers.Exit{}, err
	}
	e := &execution{Execution: tasks.Execution{Request: r, Streams: streams}, driver: d, id: id, box: boxDir(dir)}
	exit, err := e.run(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return drivers.Exit{}, fmt.Errorf("exec in task %s: %w", id, err)
	}
	return exit, nil
}

// execution is one Exec under way.
type execution struct {
	tasks.Execution
	driver *Driver
	id     string
	box    string
	dir    string     // its own, within the container's, so that it cannot outlive that
	theirs []*os.File // what the runtime gets: its input, output, errors, and the other end of the line
}

func (e *execution) run(ctx context.Context) (exit drivers.Exit, err error) {
	if e.dir, err = os.MkdirTemp(e.box, "exec-"); err != nil {
		return exit, err
	}
	defer os.RemoveAll(e.dir)
	own, err := readSettings(e.box)
	if err != nil {
		return exit, err
	}
	command := shim.Inside{WorkDir: string(own.WorkDir), Env: environment(own.env(), e.Request.Env), FilesMax: own.FilesMax, FileBytes: own.FileBytes}
	if e.Request.Terminal {
		command.Env = environment([]string{"TERM=xterm"}, command.Env)
		return e.Run(ctx, e.console, command)
	}
	return e.Run(ctx, e.pipes, command)
}

// start has the runtime start the first process with e.theirs as its streams, and puts it into the task's limits.
func (e *execution) start(ctx context.Context, more ...string) error {
	defer func() {
		for _, file := range e.theirs {
			file.Close()
		}
	}()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	e.theirs = append(e.theirs, os.NewFile(uintptr(pair[1]), "line"))
	if err := unix.SetNonblock(pair[0], true); err != nil { // so that closing it frees who reads from it
		return err
	}
	line := os.NewFile(uintptr(pair[0]), "line")
	if err := e.begin(ctx, more); err != nil {
		line.Close()
		return err
	}
	e.Line = line
	return nil
}

func (e *execution) begin(ctx context.Context, more []string) error {
	process, err := e.process()
	if err != nil {
		return err
	}
	first := filepath.Join(e.dir, "first")
	args := slices.Concat(e.driver.runtime.command[1:], []string{"--root", filepath.Join(e.box, "state"), "exec", "--detach", "--pid-file", first,
		"--preserve-fds", "1", "--process", process}, more, []string{id})
	cmd := exec.CommandContext(ctx, e.driver.runtime.command[0], args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = e.theirs[0], e.theirs[1], e.theirs[2], e.theirs[3:]
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("by the container's runtime: %w", err)
	}
	data, err := os.ReadFile(first)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return fmt.Errorf("the container's runtime says that it started %q", data)
	}
	return e.driver.Join(e.id, pid)
}

// process writes down the first process: as the container's own, but perhaps with a terminal.
func (e *execution) process() (path string, err error) {
	data, err := os.ReadFile(filepath.Join(e.box, "config.json"))
	if err != nil {
		return "", err
	}
	var bundle specs.Spec
	if err := json.Unmarshal(data, &bundle); err != nil {
		return "", err
	}
	bundle.Process.Terminal = e.Request.Terminal
	if data, err = json.Marshal(bundle.Process); err != nil {
		return "", err
	}
	path = filepath.Join(e.dir, "process.json")
	return path, os.WriteFile(path, data, 0o600)
}

// pipes connects the caller without a terminal.
func (e *execution) pipes(ctx context.Context) (err error) {
	if e.theirs, err = e.Pipes(); err != nil {
		return err
	}
	if err := e.start(ctx); err != nil {
		return fmt.Errorf("%w: %s", err, e.Complaint()) // the runtime's word came where the command's would have come
	}
	e.CopyPipes()
	return nil
}

// console connects the caller by a terminal of the container's own, which the runtime hands over through a socket.
func (e *execution) console(ctx context.Context) error {
	socket, err := tasks.Listen(e.dir, "console")
	if err != nil {
		return err
	}
	defer socket.Close()
	errs, err := os.Create(filepath.Join(e.dir, "errors"))
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		errs.Close()
		return err
	}
	e.theirs = []*os.File{null, errs, errs}
	if err := e.start(ctx, "--console-socket", socket.Path); err != nil {
		said, _ := os.ReadFile(errs.Name()) // if even that fails there is nothing to add
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(said)))
	}
	conn, err := socket.AcceptUnix() // it has called, or never will
	if err != nil {
		return fmt.Errorf("take its terminal: %w", err)
	}
	defer conn.Close()
	terminal, said, err := tasks.ReceiveTerminal(conn)
	if err != nil || terminal == nil {
		return fmt.Errorf("take its terminal: it came with %q: %w", said, err)
	}
	return e.CopyTerminal(ctx, terminal)
}
