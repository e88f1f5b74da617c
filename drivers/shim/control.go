package shim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
)

// Message is one command. The shim answers by putting Seq into Record.Ack, so Seq must differ from every earlier one.
type Message struct {
	Seq    uint64
	Kind   Command
	Signal uint32
	Group  bool
	Arg    uint64
}

// ErrNoShim: nobody reads commands there, or not yet.
var ErrNoShim = errors.New("no shim is listening")

// Send hands a command to the shim of the task in dir.
func Send(dir string, m Message) error {
	fd, err := unix.Open(filepath.Join(dir, ControlFile), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, os.ErrNotExist) {
		return ErrNoShim
	}
	if err != nil {
		return fmt.Errorf("send command: %w", err)
	}
	defer unix.Close(fd)
	data := make([]byte, 32)
	binary.LittleEndian.PutUint64(data, m.Seq)
	binary.LittleEndian.PutUint32(data[8:], uint32(m.Kind))
	binary.LittleEndian.PutUint32(data[12:], m.Signal)
	if m.Group {
		binary.LittleEndian.PutUint32(data[16:], 1)
	}
	binary.LittleEndian.PutUint64(data[24:], m.Arg)
	if _, err := unix.Write(fd, data); errors.Is(err, unix.EPIPE) {
		return ErrNoShim
	} else if err != nil { // far below the pipe's atomic size, so whole or not at all
		return fmt.Errorf("send command: %w", err)
	}
	return nil
}
