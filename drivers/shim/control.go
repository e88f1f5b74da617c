package shim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Command kinds of c/shim.h.
type Command uint32

const (
	CommandSignal Command = iota + 1
	CommandFreeze
	CommandThaw
	CommandStop
	CommandKill
	CommandLease
	CommandExec // Arg names the socket on which the driver waits for the command's first process
)

// Message is one command. The shim answers by putting Seq into Record.Ack, so Seq must differ from every earlier one.
type Message struct {
	Seq    uint64
	Kind   Command
	Signal uint32
	Group  bool
	Arg    uint64
}

// The lease file is struct orders of c/shim.h: eight bytes of lease, then the last command.
const (
	seqAt  = 8
	kindAt = 16
)

// ErrNoShim: nobody takes commands there any more.
var ErrNoShim = errors.New("the shim is gone")

// WriteLease tells the shim until when the task may run. It needs no message: the shim looks when the old lease ends.
func WriteLease(record string, until int64) error {
	fd, err := unix.Open(record+leaseEnding, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("write lease: %w", err)
	}
	defer unix.Close(fd)
	if _, err := unix.Pwrite(fd, binary.NativeEndian.AppendUint64(nil, uint64(until)), 0); err != nil {
		return fmt.Errorf("write lease: %w", err)
	}
	return nil
}

// ReadLease returns what WriteLease wrote last, else what Start was told, 0 if there is no lease.
func ReadLease(record string) (int64, error) {
	fd, err := unix.Open(record+leaseEnding, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		until, err := readLease(fd, 0)
		if err != nil || until != 0 {
			return until, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("read lease: %w", err)
	}
	if fd, err = openRecord(record); err != nil {
		return 0, fmt.Errorf("read lease: %w", err)
	}
	return readLease(fd, leaseAt)
}

// readLease reads eight bytes and closes fd. Those that nobody wrote are zero.
func readLease(fd int, at int64) (int64, error) {
	defer unix.Close(fd)
	var data [8]byte
	if _, err := unix.Pread(fd, data[:], at); err != nil {
		return 0, fmt.Errorf("read lease: %w", err)
	}
	return int64(binary.NativeEndian.Uint64(data[:])), nil
}

// Send hands a command to the shim, which must be past its beginnings, so that its record holds its pid. One at a time: a
// command that is not answered yet is overwritten.
func Send(record string, pid int, m Message) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrNoShim
	}
	if err != nil {
		return fmt.Errorf("send command: %w", err)
	}
	defer unix.Close(pidfd)
	// The lock is still held, so the shim lives, so that number is still its own and pidfd means the shim.
	if alive, err := Alive(record); err != nil || !alive {
		return errors.Join(ErrNoShim, err)
	}
	fd, err := unix.Open(record+leaseEnding, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("send command: %w", err)
	}
	defer unix.Close(fd)
	data := make([]byte, 24)
	binary.NativeEndian.PutUint32(data, uint32(m.Kind))
	binary.NativeEndian.PutUint32(data[4:], m.Signal)
	if m.Group {
		binary.NativeEndian.PutUint32(data[8:], 1)
	}
	binary.NativeEndian.PutUint64(data[16:], m.Arg)
	_, err = unix.Pwrite(fd, data, kindAt)
	if err == nil { // the number last: it makes the rest valid
		_, err = unix.Pwrite(fd, binary.NativeEndian.AppendUint64(nil, m.Seq), seqAt)
	}
	if err == nil {
		err = unix.PidfdSendSignal(pidfd, unix.SIGUSR1, nil, 0)
	}
	if errors.Is(err, unix.ESRCH) {
		return ErrNoShim
	}
	if err != nil {
		return fmt.Errorf("send command: %w", err)
	}
	return nil
}
