package container

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
)

// Exec implements drivers.Driver. For a command the runtime starts the shim's program in the container once more, which waits until it is in
// the task's cgroups, starts the command and says how it ended.
func (d *Driver) Exec(ctx context.Context, id string, r drivers.ExecRequest, streams drivers.ExecStreams) (drivers.Exit, error) {
	if r.Connect != 0 {
		return d.Connect(ctx, id, r.Connect, streams)
	}
	if len(r.Argv) == 0 || slices.ContainsFunc(append(slices.Clone(r.Argv), r.Env...), func(s string) bool { return strings.IndexByte(s, 0) >= 0 }) {
		return drivers.Exit{}, fmt.Errorf("exec in task %s: %w: no command, or one with a zero byte", id, drivers.ErrInvalid)
	}
	dir, err := d.Running(ctx, id)
	if err != nil {
		return drivers.Exit{}, err
	}
	e := &execution{driver: d, id: id, box: boxDir(dir), request: r, streams: streams}
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
	driver  *Driver
	id      string
	box     string
	request drivers.ExecRequest
	streams drivers.ExecStreams

	dir    string         // its own, within the container's, so that it cannot outlive that
	line   *os.File       // to the first process: there its command, back its answer
	theirs []*os.File     // what the runtime gets: its input, output, errors, and the other end of the line
	ours   []*os.File     // what copies read
	copies sync.WaitGroup // of the command's output
}

func (e *execution) run(ctx context.Context) (exit drivers.Exit, err error) {
	if e.dir, err = os.MkdirTemp(e.box, "exec-"); err != nil {
		return exit, err
	}
	defer os.RemoveAll(e.dir)
	defer e.copies.Wait()
	defer e.release(&e.theirs)
	connect := e.pipes
	if e.request.Terminal {
		connect = e.console
	}
	if err := connect(ctx); err != nil {
		e.release(&e.ours)
		return exit, err
	}
	defer e.line.Close()
	stop := context.AfterFunc(ctx, func() { // at which the first process ends the command
		e.line.Close()
		e.release(&e.ours)
	})
	defer stop()
	if err := e.send(); err != nil {
		e.release(&e.ours)
		return exit, err
	}
	exit, err = e.answer()
	if e.request.Terminal { // its end comes only when nobody has it any more, and a server begun in a shell goes on
		for _, terminal := range e.ours {
			_ = terminal.SetReadDeadline(time.Now().Add(terminalRest)) // closed already, it has none
		}
	}
	return exit, err
}

// terminalRest is how long a terminal is still read when its command has ended: what that wrote is on its way.
const terminalRest = 200 * time.Millisecond

func (e *execution) release(files *[]*os.File) {
	for _, file := range *files {
		file.Close() // some are closed already
	}
}

// start has the runtime start the first process with e.theirs as its streams, and puts it into the task's limits.
func (e *execution) start(ctx context.Context, more ...string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	e.theirs = append(e.theirs, os.NewFile(uintptr(pair[1]), "line"))
	if err := unix.SetNonblock(pair[0], true); err != nil { // so that closing it frees who reads from it
		return err
	}
	e.line = os.NewFile(uintptr(pair[0]), "line")
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
	err = cmd.Run()
	e.release(&e.theirs)
	if err != nil {
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
	bundle.Process.Terminal = e.request.Terminal
	if data, err = json.Marshal(bundle.Process); err != nil {
		return "", err
	}
	path = filepath.Join(e.dir, "process.json")
	return path, os.WriteFile(path, data, 0o600)
}

// send tells the first process its command. Variables are the task's, and more.
func (e *execution) send() error {
	own, err := readSettings(e.box)
	if err != nil {
		return err
	}
	env := environment(own.env(), e.request.Env)
	if e.request.Terminal {
		env = environment([]string{"TERM=xterm"}, env)
	}
	_, err = e.line.Write(shim.Inside{
		WorkDir: WorkDir, Argv: e.request.Argv, Env: env, FilesMax: own.FilesMax, FileBytes: own.FileBytes, Attend: true,
	}.Encode())
	return err
}

// answer waits until the first process says how the command ended.
func (e *execution) answer() (drivers.Exit, error) {
	answer, err := shim.ReadAnswer(e.line)
	switch {
	case err != nil: // it was killed before it could, and its command with it
		return drivers.Exit{Code: 137, Signal: 9, Cause: drivers.CauseStopped, Message: "it ended with its task"}, nil //nolint:nilerr // no answer is one
	case answer.Errno != 0:
		exit := drivers.Exit{Code: 125, Cause: drivers.CauseStartFailed, Message: answer.Step + ": " + answer.Errno.Error()}
		if answer.Step == shim.StepExecute {
			exit.Code, exit.Message = 126, answer.Step+" "+e.request.Argv[0]+": "+answer.Errno.Error()
			if answer.Errno == syscall.ENOENT || answer.Errno == syscall.ENOTDIR {
				exit.Code = 127
			}
		}
		return exit, nil
	case answer.Status.Signaled():
		signal := int(answer.Status.Signal())
		return drivers.Exit{Code: 128 + signal, Signal: signal, Cause: drivers.CauseSignalled}, nil
	}
	return drivers.Exit{Code: answer.Status.ExitStatus(), Cause: drivers.CauseExited}, nil
}

// pipes connects the caller without a terminal.
func (e *execution) pipes(ctx context.Context) error {
	var all [6]*os.File
	for i := range 3 {
		reads, writes, err := os.Pipe()
		if err != nil {
			return err
		}
		all[2*i], all[2*i+1] = reads, writes
		theirs, ours := writes, reads
		if i == 0 {
			theirs, ours = reads, writes
		}
		e.theirs, e.ours = append(e.theirs, theirs), append(e.ours, ours)
	}
	if err := e.start(ctx); err != nil {
		said := make([]byte, 1000) // the runtime's word came where the command's would have come
		n, _ := all[4].Read(said)
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(said[:n])))
	}
	e.feed(all[1])
	e.drain(e.streams.Stdout, all[2])
	e.drain(e.streams.Stderr, all[4])
	return nil
}

// feed passes the caller's input on. It ends when the caller closes that, or with its first byte after the command's end.
func (e *execution) feed(to *os.File) {
	if e.streams.Stdin == nil {
		to.Close()
		return
	}
	go func() {
		defer to.Close()
		_, _ = io.Copy(to, e.streams.Stdin)
	}()
}

// drain passes output on, until nobody has that stream any more.
func (e *execution) drain(to io.Writer, from *os.File) {
	if to == nil {
		to = io.Discard
	}
	e.copies.Go(func() {
		defer from.Close()
		_, _ = io.Copy(to, from) // a caller that takes no more has what it wants
	})
}
