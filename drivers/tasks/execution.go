package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
)

// CheckExec refuses what can be no command.
func CheckExec(id string, r drivers.ExecRequest) error {
	if len(r.Argv) == 0 || slices.ContainsFunc(append(slices.Clone(r.Argv), r.Env...), func(s string) bool { return strings.IndexByte(s, 0) >= 0 }) {
		return fmt.Errorf("exec in task %s: %w: no command, or one with a zero byte", id, drivers.ErrInvalid)
	}
	return nil
}

// Execution is an Exec under way whose command a process in the task attends to, which the driver has had started.
type Execution struct {
	Request drivers.ExecRequest
	Streams drivers.ExecStreams
	Line    io.ReadWriteCloser // to that process: there the command, back its answer

	ours   []*os.File     // what copies read or write
	copies sync.WaitGroup // of the command's output
}

// Run has the process started with streams connected, tells it the command and waits for the command's end.
func (e *Execution) Run(ctx context.Context, connect func(context.Context) error, command shim.Inside) (exit drivers.Exit, err error) {
	defer e.copies.Wait()
	if err := connect(ctx); err != nil {
		if e.Line != nil {
			e.Line.Close()
		}
		e.release()
		return exit, err
	}
	defer e.Line.Close()
	stop := context.AfterFunc(ctx, func() { // at which the process ends the command
		e.Line.Close()
		e.release()
	})
	defer stop()
	command.Argv, command.Attend = e.Request.Argv, true
	if _, err := e.Line.Write(command.Encode()); err != nil {
		e.release()
		return exit, err
	}
	exit = e.answer()
	if e.Request.Terminal { // its end comes only when nobody has it any more, and a server begun in a shell goes on
		for _, terminal := range e.ours {
			_ = terminal.SetReadDeadline(time.Now().Add(terminalRest)) // closed already, it has none
		}
	}
	return exit, nil
}

// terminalRest is how long a terminal is still read when its command has ended: what that wrote is on its way.
const terminalRest = 200 * time.Millisecond

func (e *Execution) release() {
	for _, file := range e.ours {
		file.Close() // some are closed already
	}
}

// answer waits until the process says how the command ended.
func (e *Execution) answer() drivers.Exit {
	answer, err := shim.ReadAnswer(e.Line)
	switch {
	case err != nil: // it was killed before it could, and its command with it
		return drivers.Exit{Code: 137, Signal: 9, Cause: drivers.CauseStopped, Message: "it ended with its task"}
	case answer.Errno != 0:
		exit := drivers.Exit{Code: 125, Cause: drivers.CauseStartFailed, Message: answer.Step + ": " + answer.Errno.Error()}
		if answer.Step == shim.StepExecute {
			exit.Code, exit.Message = 126, answer.Step+" "+e.Request.Argv[0]+": "+answer.Errno.Error()
			if answer.Errno == syscall.ENOENT || answer.Errno == syscall.ENOTDIR {
				exit.Code = 127
			}
		}
		return exit
	case answer.Status.Signaled():
		signal := int(answer.Status.Signal())
		return drivers.Exit{Code: 128 + signal, Signal: signal, Cause: drivers.CauseSignalled}
	}
	return drivers.Exit{Code: answer.Status.ExitStatus(), Cause: drivers.CauseExited}
}

// Pipes makes what connects a caller without a terminal, and returns the command's ends: its input, output and errors.
func (e *Execution) Pipes() (theirs []*os.File, err error) {
	for i := range 3 {
		reads, writes, err := os.Pipe()
		if err != nil {
			for _, file := range theirs {
				file.Close()
			}
			return nil, err
		}
		if i > 0 {
			reads, writes = writes, reads
		}
		theirs, e.ours = append(theirs, reads), append(e.ours, writes)
	}
	return theirs, nil
}

// Complaint is what was written where the command's errors come, before there was a command.
func (e *Execution) Complaint() string {
	said := make([]byte, 1000)
	n, _ := e.ours[2].Read(said)
	return strings.TrimSpace(string(said[:n]))
}

// CopyPipes connects the caller with the pipes.
func (e *Execution) CopyPipes() {
	e.feed(e.ours[0])
	e.drain(e.Streams.Stdout, e.ours[1])
	e.drain(e.Streams.Stderr, e.ours[2])
}

// CopyTerminal connects the caller with the other side of the command's terminal.
func (e *Execution) CopyTerminal(ctx context.Context, terminal *os.File) error {
	e.ours = append(e.ours, terminal)
	if e.Request.Rows != 0 || e.Request.Cols != 0 {
		if err := resize(terminal, drivers.TerminalSize{Rows: e.Request.Rows, Cols: e.Request.Cols}); err != nil {
			return err
		}
	}
	e.drain(e.Streams.Stdout, terminal)
	if e.Streams.Stdin != nil {
		go func() { _, _ = terminal.ReadFrom(e.Streams.Stdin) }() // ends as feed does
	}
	go e.follow(ctx, terminal)
	return nil
}

// feed passes the caller's input on. It ends when the caller closes that, or with its first byte after the command's end.
func (e *Execution) feed(to *os.File) {
	if e.Streams.Stdin == nil {
		to.Close()
		return
	}
	go func() {
		defer to.Close()
		_, _ = io.Copy(to, e.Streams.Stdin)
	}()
}

// drain passes output on, until nobody has that stream any more.
func (e *Execution) drain(to io.Writer, from *os.File) {
	if to == nil {
		to = io.Discard
	}
	e.copies.Go(func() {
		defer from.Close()
		_, _ = io.Copy(to, from) // a caller that takes no more has what it wants
	})
}

// follow gives the terminal each new size, until the terminal is closed.
func (e *Execution) follow(ctx context.Context, terminal *os.File) {
	for {
		select {
		case size, ok := <-e.Streams.Resize:
			if !ok || errors.Is(resize(terminal, size), os.ErrClosed) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func resize(terminal *os.File, size drivers.TerminalSize) error {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return err
	}
	var sizeErr error
	err = raw.Control(func(fd uintptr) {
		sizeErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	})
	return errors.Join(err, sizeErr)
}

// ReceiveTerminal takes the one descriptor that comes with a message; without one, said is the message.
func ReceiveTerminal(conn *net.UnixConn) (terminal *os.File, said []byte, err error) {
	said, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, rights, _, _, err := conn.ReadMsgUnix(said, control)
	if err != nil {
		return nil, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:rights])
	if err != nil || len(messages) != 1 {
		return nil, said[:n], err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, nil, fmt.Errorf("%d descriptors: %w", len(fds), err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that closing it frees who reads from it
		unix.Close(fds[0])
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil, nil
}

// Socket is one in a folder, whatever the length of that folder's name.
type Socket struct {
	*net.UnixListener
	Path   string // short enough for an address, until Close
	folder *os.File
}

// Listen makes a socket of that name, which goes when it is closed. Nobody waits for a caller longer than patience.
func Listen(folder, name string) (*Socket, error) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	s := &Socket{folder: dir, Path: fmt.Sprintf("/proc/%d/fd/%d/%s", os.Getpid(), dir.Fd(), name)}
	if s.UnixListener, err = net.ListenUnix("unix", &net.UnixAddr{Name: s.Path, Net: "unix"}); err == nil {
		err = s.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return s, nil
}

// patience is for who has been told to call.
const patience = 10 * time.Second

// Close removes the socket.
func (s *Socket) Close() error { return errors.Join(s.UnixListener.Close(), s.folder.Close()) }
