package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
)

// consolePatience is for a runtime that has said it is ready.
const consolePatience = 10 * time.Second

// console connects the caller by a terminal of the container's own, which the runtime hands over through a socket.
func (e *execution) console(ctx context.Context) error {
	folder, err := os.Open(e.dir) // by its descriptor the socket has a name short enough for an address
	if err != nil {
		return err
	}
	defer folder.Close()
	path := fmt.Sprintf("/proc/%d/fd/%d/console", os.Getpid(), folder.Fd())
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
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
	e.theirs = append(e.theirs, null, errs, errs)
	if err := e.start(ctx, "--console-socket", path); err != nil {
		said, _ := os.ReadFile(errs.Name()) // if even that fails there is nothing to add
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(said)))
	}
	terminal, err := receive(socket)
	if err != nil {
		return fmt.Errorf("take its terminal: %w", err)
	}
	e.ours = append(e.ours, terminal)
	if e.request.Rows != 0 || e.request.Cols != 0 {
		if err := resize(terminal, drivers.TerminalSize{Rows: e.request.Rows, Cols: e.request.Cols}); err != nil {
			return err
		}
	}
	e.drain(e.streams.Stdout, terminal)
	if e.streams.Stdin != nil {
		go func() { _, _ = terminal.ReadFrom(e.streams.Stdin) }() // ends as feed does
	}
	go e.follow(ctx, terminal)
	return nil
}

// follow gives the terminal each new size, until the terminal is closed.
func (e *execution) follow(ctx context.Context, terminal *os.File) {
	for {
		select {
		case size, ok := <-e.streams.Resize:
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

// receive takes the one descriptor that the runtime sends.
func receive(socket *net.UnixListener) (*os.File, error) {
	deadline := time.Now().Add(consolePatience)
	if err := socket.SetDeadline(deadline); err != nil {
		return nil, err
	}
	conn, err := socket.AcceptUnix()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	name, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(name, control)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("%d messages with it: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors: %w", len(fds), err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that closing it frees who reads from it
		unix.Close(fds[0])
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}
