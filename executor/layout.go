package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// The executor's folder:
//
//	lock            held while an executor works here
//	probe           there while it is tried whether the disk can be written
//	seen            the newest set of orders that was obeyed
//	servers         where the servers are, as the last leader has told
//	store/          inputs by digest
//	runs/<id>/      one run's
//	  journal       one line of JSON, behind its sum, for each step: what to run, that the driver may have been asked to start it (and in
//	                which boot), that its first process was there, how it ended (its logs and outputs are with the servers)
//	  notice        the newest notice, for the task to read; that of a task with files of its own lies in notices/, which it is shown
//	  driver/       the driver's, there once it keeps something
//	  work/         the task's own folder
//
// A run's folder counts from its journal's first whole line to the removal of its journal. No line is synced: one that a
// loss of power has cut or emptied is as if never written, and after it nothing runs any more, and the servers say which
// runs had started.
const (
	journalFile = "journal"
	noticeFile  = "notice"
	noticesDir  = "notices"
	driverDir   = "driver"
	workDir     = "work"
)

type layout struct{ dir string }

func (l layout) runs() string             { return filepath.Join(l.dir, "runs") }
func (l layout) store() string            { return filepath.Join(l.dir, "store") }
func (l layout) run(id uint64) string     { return filepath.Join(l.runs(), strconv.FormatUint(id, 10)) }
func (l layout) journal(id uint64) string { return filepath.Join(l.run(id), journalFile) }

// open makes the folder, and takes its lock. Tasks pass through the outer folders to their own, so
// those may be entered by all and listed by nobody.
func (l layout) open() (*os.File, error) {
	for _, folder := range []struct {
		path string
		mode fs.FileMode
	}{{l.dir, 0o711}, {l.runs(), 0o711}, {l.store(), 0o700}} {
		if err := os.MkdirAll(folder.path, folder.mode); err != nil {
			return nil, err
		}
		if err := admit(folder.path, folder.mode); err != nil {
			return nil, err
		}
	}
	lock, err := os.OpenFile(filepath.Join(l.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another executor works in %s: %w", l.dir, err), lock.Close())
	}
	return lock, nil
}

// admit lets tasks' users pass through a folder that was made with a stricter umask, or by the one who put keys there.
func admit(path string, mode fs.FileMode) error {
	const pass = 0o011
	info, err := os.Stat(path)
	if err != nil || os.Geteuid() != 0 || mode&pass == 0 || info.Mode()&pass == pass {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()|pass)
}

// list reads the folders of all runs. One without a journal belongs to a run that was never begun, or has
// not been removed to the end.
func (l layout) list() ([]*journal, error) {
	entries, err := os.ReadDir(l.runs())
	if err != nil {
		return nil, err
	}
	var found []*journal
	for _, entry := range entries {
		id, err := strconv.ParseUint(entry.Name(), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is no run's folder", filepath.Join(l.runs(), entry.Name()))
		}
		j, err := l.read(id)
		if errors.Is(err, fs.ErrNotExist) {
			err = removeAll(l.run(id))
		}
		if err != nil {
			return nil, err
		}
		if j != nil {
			found = append(found, j)
		}
	}
	return found, nil
}

// discard makes the run count no more, at one moment, then frees its space. What most tasks leave behind is known by name,
// and nothing has to be listed to remove it.
func (l layout) discard(id uint64) error {
	if err := unix.Unlink(l.journal(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", l.journal(id), err)
	}
	for _, folder := range []string{filepath.Join(workDir, tmpDir), workDir, driverDir, ""} {
		if unix.Rmdir(filepath.Join(l.run(id), folder)) != nil && folder == "" {
			return removeAll(l.run(id))
		}
	}
	return nil
}
