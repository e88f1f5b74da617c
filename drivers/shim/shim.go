// Package shim starts the small static program that stands between one task and everything that may restart.
package shim

import (
	"bytes"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

//go:embed bin/shim_linux_*
var executables embed.FS

// Beside the status file, under its name and these endings.
const (
	exitEnding  = "~exit" // what the status file is called when it has become the exit record
	leaseEnding = "~lease"
	newEnding   = "~new"
)

// Streams of a task, as files in the folder of its logs.
const (
	StdoutFile = "stdout"
	StderrFile = "stderr"
)

// The first lease and the folder are remembered behind the largest record; behind them, where there is one, the limit of the
// work folder, and that folder.
const (
	leaseAt   = folderAt - 8
	folderAt  = 8192
	folderMax = 4096
)

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
		return path, os.Chmod(path, 0o755) // an earlier version's was for its owner alone
	}
	file, err := os.CreateTemp(dir, "coinop-shim-*")
	if err != nil {
		return "", fmt.Errorf("install shim: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(program)
	if err == nil {
		err = file.Chmod(0o755) // containers show it to their users
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
func Start(program string, spec Spec, ready func() error) (int, error) {
	if len(spec.LogDir) > folderMax {
		return 0, fmt.Errorf("make status file: a folder's name of %d bytes is too long", len(spec.LogDir))
	}
	fd, err := makeRecord(spec.Record, spec.Spare)
	if err != nil {
		return 0, fmt.Errorf("make status file: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return 0, fmt.Errorf("lock status file: %w", err)
	}
	told := append(binary.NativeEndian.AppendUint64(nil, uint64(spec.LeaseUntil)), spec.LogDir...)
	if spec.DiskBytes > 0 {
		work := spec.WorkDir
		if spec.Box != nil { // that is its name inside
			work = spec.Box.WorkDir
		}
		told = fmt.Appendf(told, "\x00%d\x00%s", spec.DiskBytes, work)
	}
	if _, err := unix.Pwrite(fd, told, leaseAt); err != nil {
		return 0, fmt.Errorf("write status file: %w", err)
	}
	// What a renewal on its way made behind an earlier task's removal must not be taken for this one's.
	if err := unix.Unlink(spec.Record + leaseEnding); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("remove an old lease: %w", err)
	}
	if err := ready(); err != nil {
		return 0, err
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer unix.Close(null)
	pid, err := syscall.ForkExec(program, spec.arguments(), &syscall.ProcAttr{
		Dir:   "/",
		Env:   spec.Env,
		Files: []uintptr{uintptr(null), uintptr(null), uintptr(null), uintptr(fd)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start shim: %w", err)
	}
	return pid, nil
}

// makeRecord makes an empty status file, of the spare one if that is there.
func makeRecord(record, spare string) (int, error) {
	if spare != "" {
		fd, err := unix.Open(spare, unix.O_RDWR|unix.O_TRUNC|unix.O_CLOEXEC, 0)
		if err == nil {
			if err = unix.Renameat2(unix.AT_FDCWD, spare, unix.AT_FDCWD, record, unix.RENAME_NOREPLACE); err == nil {
				return fd, nil
			}
			unix.Close(fd)
		}
		_ = unix.Unlink(spare) // nobody else knows of it
	}
	return unix.Open(record, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
}

// Names lists the records in a folder by the names of their status files.
func Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	var names []string
	for _, entry := range entries {
		name, ending, _ := strings.Cut(entry.Name(), "~")
		if ending == "" || "~"+ending == exitEnding {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Remove removes the files of a task: its logs first, its records last, since by these it is found. If spare is not empty the
// exit record goes there, to be another task's status file.
func Remove(record, logDir, spare string) error {
	paths := []string{record + newEnding, record + leaseEnding, record, record + exitEnding}
	if spare != "" {
		paths = paths[:len(paths)-1]
	}
	if logDir != "" {
		paths = append([]string{filepath.Join(logDir, StdoutFile), filepath.Join(logDir, StderrFile)}, paths...)
	}
	for _, path := range paths {
		if err := unix.Unlink(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			return fmt.Errorf("remove %s: %w", path, err)
		}
	}
	if spare == "" {
		return nil
	}
	if err := unix.Rename(record+exitEnding, spare); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put away %s: %w", record+exitEnding, err)
	}
	return nil
}

// openRecord opens the status file under either of its names.
func openRecord(record string) (int, error) {
	fd, err := unix.Open(record, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		fd, err = unix.Open(record+exitEnding, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	return fd, err
}

// LogDir is where the task's logs are, as Start was told.
func LogDir(record string) (string, error) {
	told, err := told(record)
	return told[0], err
}

// Disk is the task's work folder and how much it may hold, as Start was told; 0 if nobody said.
func Disk(record string) (dir string, limit int64, err error) {
	told, err := told(record)
	if err != nil || len(told) != 3 {
		return "", 0, err
	}
	limit, err = strconv.ParseInt(told[1], 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("find the limit of a work folder: %w", err)
	}
	return told[2], limit, nil
}

// told is what Start was told of folders; always one at least.
func told(record string) ([]string, error) {
	fd, err := openRecord(record)
	if err != nil {
		return []string{""}, fmt.Errorf("find folders: %w", err)
	}
	defer unix.Close(fd)
	names := make([]byte, 3*folderMax)
	n, err := unix.Pread(fd, names, folderAt)
	if err != nil {
		return []string{""}, fmt.Errorf("find folders: %w", err)
	}
	return strings.SplitN(string(names[:n]), "\x00", 3), nil
}

// Alive says whether a shim holds the lock on the task's status file. No process number is involved, so none can be another's.
func Alive(record string) (bool, error) {
	fd, err := openRecord(record)
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

// Wait waits until no shim holds the lock on the task's status file.
func Wait(record string) error {
	fd, err := openRecord(record)
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

// Boottime is CLOCK_BOOTTIME in ns: the clock of leases and statuses.
func Boottime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("CLOCK_BOOTTIME cannot be read: " + err.Error()) // since Linux 2.6.39 it always can
	}
	return t.Nano()
}
