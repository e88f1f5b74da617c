package main

import (
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
)

// What a task's folder holds. Gob keeps every byte of an argument; JSON would not.
const (
	specFile   = "spec"
	socketFile = "socket"
	endFile    = "end"
)

// streams are also the names of their files in Task.Dir.
func streams() []string { return []string{"stdout", "stderr"} }

// question is what the driver asks a keeper: to carry out a command, or what the task has used so far. A connection on
// which Watch is asked tells statuses until the keeper ends.
type question struct {
	Watch   bool
	Control *drivers.Control
}

type answer struct {
	Invalid bool
	Usage   drivers.Usage
}

// ending is what stays of a task.
type ending struct {
	Status drivers.Status
	Usage  drivers.Usage
}

func boottime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // Linux has it since 2.6.39
	}
	return t.Nano()
}

// writeFile makes a file appear as a whole.
func writeFile(path string, value any) error {
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	if err := errors.Join(gob.NewEncoder(file).Encode(value), file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readFile(path string, value any) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return gob.NewDecoder(file).Decode(value)
}

// inFolder names a socket by its open folder, since the address of a socket is short.
func inFolder(dir string, do func(path string) error) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), socketFile))
}

// startKeeper starts the process that stands beside a task, and lives as long as that. It listens before it is there, so
// nobody has to wait for it.
func startKeeper(dir string, t drivers.Task) error {
	if err := errors.Join(os.Mkdir(dir, 0o700), os.MkdirAll(t.Dir, 0o700), writeFile(filepath.Join(dir, specFile), t)); err != nil {
		return err
	}
	return inFolder(dir, func(path string) error {
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return err
		}
		defer listener.Close()
		listener.SetUnlinkOnClose(false)
		socket, err := listener.File()
		if err != nil {
			return err
		}
		defer socket.Close()
		self, err := os.Executable()
		if err != nil {
			return err
		}
		flags := uintptr(unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC)
		if !t.Network {
			flags |= unix.CLONE_NEWNET
		}
		keeper := exec.Command(self, keeperWord)
		keeper.Dir, keeper.Env, keeper.ExtraFiles = dir, []string{}, []*os.File{socket}
		keeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Setsid: true} // it outlives this process and its terminal
		if err := keeper.Start(); err != nil {
			return err
		}
		go func() { _ = keeper.Wait() }() // how the task ended is in its folder
		return nil
	})
}

func dialKeeper(dir string, q question) (connection net.Conn, err error) {
	err = inFolder(dir, func(path string) error {
		connection, err = net.Dial("unix", path)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := gob.NewEncoder(connection).Encode(q); err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	return connection, nil
}

func askKeeper(dir string, q question) (a answer, err error) {
	connection, err := dialKeeper(dir, q)
	if err != nil {
		return a, err
	}
	defer connection.Close()
	return a, gob.NewDecoder(connection).Decode(&a)
}

// watchKeeper returns when the keeper is gone.
func watchKeeper(dir string, tell func(drivers.Status)) {
	connection, err := dialKeeper(dir, question{Watch: true})
	if err != nil {
		return
	}
	defer connection.Close()
	for statuses := gob.NewDecoder(connection); ; {
		var s drivers.Status
		if statuses.Decode(&s) != nil {
			return
		}
		tell(s)
	}
}
