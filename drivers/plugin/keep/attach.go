package keep

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
)

// attached is a plugin process that somebody else started. It is held by a descriptor, so a number used again harms nobody.
type attached struct {
	pid   int
	pidfd *os.File
}

// findPlugin makes sure that the process noted is the one that serves the socket.
func findPlugin(a address) (*attached, error) {
	fd, err := unix.PidfdOpen(a.Pid, 0)
	if err != nil {
		return nil, fmt.Errorf("find plugin: %w", err)
	}
	found := &attached{pid: a.Pid, pidfd: os.NewFile(uintptr(fd), "pidfd")}
	pid, err := servedBy(a.Socket)
	if err == nil && pid != a.Pid {
		err = fmt.Errorf("its socket is served by process %d, not %d", pid, a.Pid)
	}
	if err != nil {
		found.pidfd.Close()
		return nil, fmt.Errorf("find plugin: %w", err)
	}
	return found, nil
}

func servedBy(socket string) (int, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var peerErr error
	if err := raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if peerErr != nil {
		return 0, peerErr
	}
	return int(peer.Pid), nil
}

func (a *attached) attach() (runner.AttachedRunner, error) { return a, nil }

// Wait waits for the process to end.
func (a *attached) Wait(context.Context) error {
	defer a.pidfd.Close()
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(a.pidfd.Fd()), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return err
		}
	}
}

// Kill ends the process.
func (a *attached) Kill(context.Context) error {
	return unix.PidfdSendSignal(int(a.pidfd.Fd()), syscall.SIGKILL, nil, 0)
}

// ID names the process.
func (a *attached) ID() string { return strconv.Itoa(a.pid) }

// PluginToHost and HostToPlugin leave addresses alone: both sides see the same files.
func (a *attached) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin is explained at PluginToHost.
func (a *attached) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}
