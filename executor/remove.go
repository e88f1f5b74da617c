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

// removeDeepest is how many folders in folders are removed at once: each costs a descriptor.
const removeDeepest = 256

// removeAll also removes what a task without root made unreadable for its own user, or nested deeper than
// this process may have files open.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if errors.Is(err, fs.ErrPermission) {
		_ = filepath.WalkDir(path, func(name string, entry fs.DirEntry, _ error) error {
			if entry != nil && entry.IsDir() {
				_ = os.Chmod(name, 0o700) // entered only after this; a symbolic link is no folder to WalkDir
			}
			return nil
		})
		err = os.RemoveAll(path)
	}
	if !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENAMETOOLONG) {
		return err
	}
	if err := flatten(path); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return os.RemoveAll(path)
}

// flatten moves what lies deep in a folder to a folder near its top.
func flatten(top string) error {
	near, err := os.MkdirTemp(top, "deep-")
	if err != nil {
		return err
	}
	todo := []string{top}
	for moved := 0; len(todo) > 0; {
		folder, err := os.Open(todo[len(todo)-1])
		if err != nil {
			return err
		}
		todo = todo[:len(todo)-1]
		err = lift(folder, 0, func(parent *os.File, name string) error {
			to := filepath.Join(near, strconv.Itoa(moved))
			moved++
			todo = append(todo, to)
			return unix.Renameat(int(parent.Fd()), name, unix.AT_FDCWD, to)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lift calls move for each folder at the depth where a removal would end, and closes the one that it is given.
func lift(folder *os.File, depth int, move func(parent *os.File, name string) error) error {
	defer folder.Close()
	entries, err := folder.ReadDir(-1)
	for _, entry := range entries {
		if !entry.IsDir() || err != nil {
			continue
		}
		if depth == removeDeepest {
			err = move(folder, entry.Name())
			continue
		}
		fd, failed := unix.Openat(int(folder.Fd()), entry.Name(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if failed != nil {
			return failed
		}
		err = lift(os.NewFile(uintptr(fd), entry.Name()), depth+1, move)
	}
	return err
}
