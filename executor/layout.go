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
//	seen            the newest set of orders that was obeyed
//	store/          inputs by digest
//	trash/          run folders on their way out
//	runs/<id>/      one run's
//	  spec.json     what to run; the folder counts from its appearance on
//	  starting      the driver may have been asked to start it; a link that says in which boot
//	  started       its first process was there; what starting becomes
//	  end.json      how it ended; its logs and outputs are with the servers
//	  notice        the newest notice, for the task to read
//	  driver/       the driver's
//	  work/         the task's own folder
//
// Every file appears by rename. Only spec.json is synced, so that one that is there is whole. Nothing more is needed:
// after a crash of the machine nothing runs any more, and the servers say which runs had started.
const (
	specFile     = "spec.json"
	startingFile = "starting"
	startedFile  = "started"
	endFile      = "end.json"
	noticeFile   = "notice"
	driverDir    = "driver"
	workDir      = "work"
)

type layout struct{ dir string }

func (l layout) runs() string         { return filepath.Join(l.dir, "runs") }
func (l layout) store() string        { return filepath.Join(l.dir, "store") }
func (l layout) trash() string        { return filepath.Join(l.dir, "trash") }
func (l layout) run(id uint64) string { return filepath.Join(l.runs(), strconv.FormatUint(id, 10)) }
func (l layout) trashed(id uint64) string {
	return filepath.Join(l.trash(), strconv.FormatUint(id, 10))
}

// open makes the folder, takes its lock and empties the trash. Tasks pass through the outer folders to their own, so
// those may be entered by all and listed by nobody.
func (l layout) open() (*os.File, error) {
	for _, folder := range []struct {
		path string
		mode fs.FileMode
	}{{l.dir, 0o711}, {l.runs(), 0o711}, {l.store(), 0o700}, {l.trash(), 0o700}} {
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
	trash, err := os.ReadDir(l.trash())
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	for _, entry := range trash {
		if err := removeAll(filepath.Join(l.trash(), entry.Name())); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
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

// list reads the folders of all runs. One without a spec belongs to a run that was never begun.
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

// discard makes the run's folder vanish at one moment, then frees its space.
func (l layout) discard(id uint64) error {
	if err := os.Rename(l.run(id), l.trashed(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return removeAll(l.trashed(id))
}

// removeAll also removes what a task without root made unreadable for its own user.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(path, func(name string, entry fs.DirEntry, _ error) error {
		if entry != nil && entry.IsDir() {
			_ = os.Chmod(name, 0o700) // entered only after this; a symbolic link is no folder to WalkDir
		}
		return nil
	})
	return os.RemoveAll(path)
}
