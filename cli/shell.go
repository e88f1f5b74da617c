package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
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
		Use:   "shell JOB [-- CMD ARGS...]",
		Short: "open a shell in a running task, or run a command there",
		Long: "Open a shell in a running task, or run a command there; a job that waits is waited for. It lives within the\n" +
			"task's limits and money, and ends with the task. The exit code is the command's. It needs a driver that keeps\n" +
			"tasks apart, as container does.",
		Example:           "  coinop shell 12\n  coinop shell 12 -- ls -l /work\n  coinop shell 12 --task 7 -- sh -c 'cat > notes' < notes",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := jobNumber(args[0])
			if err != nil {
				return err
			}
			if len(args) > 1 && cmd.ArgsLenAtDash() != 1 {
				return usageError{fmt.Errorf("the command stands behind --: coinop shell %s -- %s", args[0], args[1])}
			}
			q := client.ExecQuery{Job: n, Task: task, Command: args[1:]}
			if len(q.Command) == 0 {
				q.Command = []string{"sh", "-c", shellCommand}
			}
			if q.Control, err = a.needControlKey(cmd.Context(), n); err != nil {
				return err
			}
			return a.shell(cmd.Context(), q)
		},
	}
	cmd.Flags().Int32Var(&task, "task", 0, "which task of an array (default: its first)")
	return cmd
}

// shell runs a command with this terminal, if there is one, as its own.
func (a *app) shell(ctx context.Context, q client.ExecQuery) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var screen *os.File
	if a.isTerminal(a.in) && a.isTerminal(a.out) {
		screen = a.in.(*os.File)
		q.Terminal = sizeOf(screen)
		if name := os.Getenv("TERM"); name != "" {
			q.Env = []string{"TERM=" + name}
		}
	}
	line, err := c.Exec(ctx, q)
	if err != nil {
		return err
	}
	defer line.Drop()
	first, err := line.Receive(ctx) // tells that the task runs, or why it never will
	switch {
	case err != nil:
		return cutOff(ctx, err)
	case first.Channel == client.ExecEnd:
		return a.commandEnded(first)
	}
	if screen != nil {
		before, err := term.MakeRaw(int(screen.Fd()))
		if err != nil {
			return fmt.Errorf("take over the terminal: %w", err)
		}
		defer func() { _ = term.Restore(int(screen.Fd()), before) }()
		go a.followSize(ctx, screen, line)
	}
	go a.typeInto(ctx, line) // what blocks in a read ends with the process
	return a.showCommand(ctx, line)
}

// showCommand prints what the command writes, until it ends.
func (a *app) showCommand(ctx context.Context, line *client.ExecConn) error {
	for {
		f, err := line.Receive(ctx)
		if err != nil {
			return cutOff(ctx, err)
		}
		switch f.Channel {
		case client.ExecStdout:
			_, err = a.out.Write(f.Data)
		case client.ExecStderr:
			_, err = a.err.Write(f.Data)
		case client.ExecEnd:
			return a.commandEnded(f)
		}
		if err != nil {
			return err
		}
	}
}

func (a *app) commandEnded(f client.ExecFrame) error {
	code, message, err := client.ExecCode(f)
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

// typeInto sends what is typed or piped into this command.
func (a *app) typeInto(ctx context.Context, line *client.ExecConn) {
	piece := make([]byte, client.ExecFrameMax-1)
	for {
		n, err := a.in.Read(piece)
		if n > 0 && line.Send(ctx, client.ExecFrame{Channel: client.ExecStdin, Data: piece[:n]}) != nil {
			return // the other side has gone, which who receives from it tells
		}
		if errors.Is(err, io.EOF) {
			_ = line.Send(ctx, client.ExecFrame{Channel: client.ExecClose, Data: []byte{client.ExecStdin}})
		}
		if err != nil {
			return
		}
	}
}

// followSize tells the command when this terminal's size changes.
func (a *app) followSize(ctx context.Context, screen *os.File, line *client.ExecConn) {
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
