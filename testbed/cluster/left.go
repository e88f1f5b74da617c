package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coinop/coinop/drivers/tasks"
)

// Left lists what a cluster has left on this machine: processes and mounts that have to do with a folder, and
// control groups of the drivers in it.
func Left(dir string) ([]string, error) {
	pids, err := Processes(dir)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, pid := range pids {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone by now: no name
		left = append(left, fmt.Sprintf("process %d: %s", pid, strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " ")))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("look for mounts: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir+"/") {
			left = append(left, "mount: "+strings.TrimSpace(line))
		}
	}
	groups, err := cgroups(dir)
	for _, g := range groups {
		left = append(left, "cgroup: "+g)
	}
	return left, err
}

// Processes are those that run in a folder or name it on their command line; not this one.
func Processes(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == os.Getppid() {
			continue
		}
		if about(pid, dir) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func about(pid int, dir string) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z ") {
		return false // ended, or only not waited for yet
	}
	cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)) // another user's: unknown
	if cwd == dir || strings.HasPrefix(cwd, dir+"/") {
		return true
	}
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Contains(string(line), dir+"/")
}

// Clear ends the processes that a cluster has left, each by its id, and removes its control groups. It is for the case
// that something went wrong: who ends well leaves nothing.
func Clear(dir string) error {
	groups, err := cgroups(dir)
	if err != nil {
		return err
	}
	return Until(context.Background(), 10*time.Second, "nothing is left in "+dir, func() (bool, error) {
		pids, err := Processes(dir)
		if err != nil {
			return false, err
		}
		var failed []error
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				failed = append(failed, fmt.Errorf("kill %d: %w", pid, err))
			}
		}
		for _, g := range groups {
			if err := os.Remove(g); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = append(failed, err)
			}
		}
		return len(pids) == 0 && len(failed) == 0, errors.Join(failed...)
	})
}

// cgroups are those of the drivers whose folders lie in dir.
func cgroups(dir string) ([]string, error) {
	var prefixes []string
	drivers, err := filepath.Glob(filepath.Join(dir, "*", "drivers", "*"))
	if err != nil {
		return nil, fmt.Errorf("look for cgroups: %w", err)
	}
	deeper, err := filepath.Glob(filepath.Join(dir, "*", "*", "drivers", "*"))
	if err != nil {
		return nil, fmt.Errorf("look for cgroups: %w", err)
	}
	for _, d := range append(drivers, deeper...) {
		prefixes = append(prefixes, tasks.CgroupPrefix(d))
	}
	var left []string
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // another's group that has just gone, or is closed to us
		}
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(d.Name(), p) }) {
			left = append(left, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for cgroups: %w", err)
	}
	return left, nil
}
