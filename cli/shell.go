package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/coinop/coinop/api/client"
)

// What a shell says of a command that could not be started.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// shellCommand is the best shell that an image has.
const shellCommand = `if command -v bash >/dev/null 2>&1; then exec bash -l; else exec sh -l; fi`

func (a *app) shellVerb() *cobra.Command {
	var task int32
	cmd := &cobra.Command{
		Use:   "shell JOB[.TASK] [-- CMD ARGS...]",
		Short: "open a shell in a running task, or run a command there",
		Long: "Open a shell in a running task, or run a command there; a job that waits is waited for. It lives within the\n" +
			"task's limits and money, and ends with the task. The exit code is the command's. On a terminal its\n" +
			"title tells what is left of time and money, and a line warns before either ends; `coinop fund JOB N` from anywhere adds to the money meanwhile.",
		Example:           "  coinop shell 12\n  coinop shell 12 -- ls -l /work\n  coinop shell 12.7 -- sh -c 'cat > notes' < notes",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 && cmd.ArgsLenAtDash() != 1 {
				return usageError{fmt.Errorf("the command stands behind --: coinop shell %s -- %s", args[0], args[1])}
			}
			q, err := a.taskQuery(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("task") {
				q.Task = task
			}
			q.Command = args[1:]
			return a.shell(cmd.Context(), q)
		},
	}
	cmd.Flags().Int32Var(&task, "task", 0, "which task of an array (default: its first)")
	return cmd
}

// shell runs a command, or else a shell, with this terminal, if there is one, as its own.
func (a *app) shell(ctx context.Context, q client.ExecQuery) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	if len(q.Command) == 0 {
		q.Command = []string{"sh", "-c", shellCommand}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := ends{in: a.in, out: a.out, err: a.err}
	giveBack := func() {}
	if a.isTerminal(a.in) && a.isTerminal(a.out) {
		t := &terminal{app: a, file: a.in.(*os.File), to: &screen{to: a.out}, query: q}
		giveBack = t.giveBack
		q.Terminal = sizeOf(t.file)
		if name := os.Getenv("TERM"); name != "" {
			q.Env = []string{"TERM=" + name}
		}
		e.out, e.err = t.to, t.to
		e.begun = func(line *client.ExecConn) error { return t.take(ctx, line) }
	}
	code, message, err := execute(ctx, c, q, e)
	cancel()
	giveBack()
	if err != nil || code == 0 {
		return err
	}
	if code == codeNotExecutable || code == codeNotFound {
		a.note("coinop: %s", message)
	}
	return exitCode(code)
}

func cutOff(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return exitInterrupted
	}
	return fmt.Errorf("the line to the command is cut, and the command ends: %w", err)
}

// terminal is this one while a command in a task has it.
type terminal struct {
	app    *app
	file   *os.File
	to     *screen
	query  client.ExecQuery
	before *term.State
	others sync.WaitGroup // what goes on beside the command
}

// take makes it the command's.
func (t *terminal) take(ctx context.Context, line *client.ExecConn) (err error) {
	if t.before, err = term.MakeRaw(int(t.file.Fd())); err != nil {
		return fmt.Errorf("take over the terminal: %w", err)
	}
	t.to.keepTitle()
	t.others.Go(func() { followSize(ctx, t.file, line) })
	t.others.Go(func() { t.app.tellLeft(ctx, t.query, t.to) })
	return nil
}

// giveBack makes it what it was, when the command's context has ended.
func (t *terminal) giveBack() {
	t.others.Wait()
	if t.before != nil {
		t.to.restoreTitle()
		_ = term.Restore(int(t.file.Fd()), t.before)
	}
}

// followSize tells the command when this terminal's size changes.
func followSize(ctx context.Context, screen *os.File, line *client.ExecConn) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		size, err := json.Marshal(sizeOf(screen))
		if err != nil || line.Send(ctx, client.ExecFrame{Channel: client.ExecResize, Data: size}) != nil {
			return
		}
	}
}

func sizeOf(screen *os.File) *client.TerminalSize {
	cols, rows, err := term.GetSize(int(screen.Fd()))
	if err != nil {
		return &client.TerminalSize{Cols: 80, Rows: 24}
	}
	return &client.TerminalSize{Cols: uint16(cols), Rows: uint16(rows)}
}
