// Package shim starts the small static program that stands between one task and everything that may restart.
package shim

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

//go:embed bin/shim_linux_*
var executables embed.FS

// Files of a task's folder.
const (
	StatusFile  = "status"
	ExitFile    = "exit"
	LeaseFile   = "lease"
	ControlFile = "control"
	StdoutFile  = "stdout"
	StderrFile  = "stderr"
	exitNewFile = "exit.new"
)

// Files lists every file that a shim or its driver may leave in a task's folder.
func Files() []string {
	return []string{StatusFile, ExitFile, LeaseFile, ControlFile, StdoutFile, StderrFile, exitNewFile, recordNewFile}
}

// Install writes this machine's shim into dir and returns its path. Running shims keep the file they were started from, so a
// file with other contents is replaced by rename.
func Install(dir string) (string, error) {
	name := "bin/shim_linux_" + runtime.GOARCH
	program, err := executables.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("install shim: none is built in for %s", runtime.GOARCH)
	}
	if err != nil {
		return "", fmt.Errorf("install shim: %w", err)
	}
	path := filepath.Join(dir, "coinop-shim")
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, program) {
		return path, nil
	}
	file, err := os.CreateTemp(dir, "coinop-shim-*")
	if err != nil {
		return "", fmt.Errorf("install shim: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(program)
	if err == nil {
		err = file.Chmod(0o700)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("install shim: %w", err)
	}
	return path, nil
}

// Start makes the task's status file, locks it and starts a shim that holds the lock for as long as it lives. It returns the
// shim's pid, which the caller has to wait for. ready is called before the shim exists, when the status file does.
func Start(program string, spec Spec, ready func(statusPath string) error) (int, error) {
	path := filepath.Join(spec.Dir, StatusFile)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("make status file: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return 0, fmt.Errorf("lock status file: %w", err)
	}
	if spec.LeaseUntil != 0 {
		if err := WriteLease(spec.Dir, spec.LeaseUntil); err != nil {
			return 0, err
		}
	}
	if err := ready(path); err != nil {
		return 0, err
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer unix.Close(null)
	pid, err := syscall.ForkExec(program, spec.arguments(), &syscall.ProcAttr{
		Dir:   spec.Dir,
		Env:   spec.Env,
		Files: []uintptr{uintptr(null), uintptr(null), uintptr(null), uintptr(fd)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start shim: %w", err)
	}
	return pid, nil
}

// Alive says whether a shim holds the lock on the task's status file. No process number is involved, so none can be another's.
func Alive(dir string) (bool, error) {
	fd, err := unix.Open(filepath.Join(dir, StatusFile), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("look for shim: %w", err)
	}
	defer unix.Close(fd)
	switch err := unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look for shim: %w", err)
	}
	return false, nil
}

// WriteLease tells the shim in dir until when the task may run. The file keeps its eight bytes at all times.
func WriteLease(dir string, until int64) error {
	fd, err := unix.Open(filepath.Join(dir, LeaseFile), unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("write lease: %w", err)
	}
	defer unix.Close(fd)
	if _, err := unix.Pwrite(fd, (*[8]byte)(unsafe.Pointer(&until))[:], 0); err != nil {
		return fmt.Errorf("write lease: %w", err)
	}
	return nil
}

// ReadLease returns what WriteLease wrote, 0 if there is no lease.
func ReadLease(dir string) (int64, error) {
	data, err := os.ReadFile(filepath.Join(dir, LeaseFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil || len(data) != 8 {
		return 0, fmt.Errorf("read lease: %d bytes: %w", len(data), err)
	}
	return *(*int64)(unsafe.Pointer(&data[0])), nil
}

// Boottime is CLOCK_BOOTTIME in ns: the clock of leases and statuses.
func Boottime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("CLOCK_BOOTTIME cannot be read: " + err.Error()) // since Linux 2.6.39 it always can
	}
	return t.Nano()
}

// Wait waits until no shim holds the lock on the task's status file.
func Wait(dir string) error {
	fd, err := unix.Open(filepath.Join(dir, StatusFile), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("wait for shim: %w", err)
	}
	defer unix.Close(fd)
	for {
		if err := unix.Flock(fd, unix.LOCK_SH); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
