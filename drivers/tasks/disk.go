package tasks

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/shim"
)

const (
	diskEvery    = time.Second
	diskAtLeast  = 10 * time.Second // others may free what this task takes
	diskFileCost = 4096             // what a file counts at least, since an empty one takes room as well
	diskDeepest  = 500              // folders in folders; each costs the one who measures a descriptor
)

// look is what was seen of a work folder, and when it must be seen again.
type look struct {
	at   time.Time
	took time.Duration
	free int64 // on its disk
	left int64 // of its limit
}

// watchDisks ends tasks whose work folder holds more than it may. There is no quota that every file system has, so the folder
// is measured; but as long as its disk has not lost what the task had left, it need not be.
func (d *Set) watchDisks(ctx context.Context) {
	ticker := time.NewTicker(diskEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for _, t := range d.limitedDisks() {
			if ctx.Err() != nil {
				return
			}
			if !t.exceeds() {
				continue
			}
			err := t.command(ctx, shim.Message{Kind: shim.CommandKill, Arg: uint64(shim.DiskFull)})
			if err != nil && ctx.Err() == nil {
				d.config.Log.Warn("end a task that holds too much disk", "task", t.id, "err", err)
			}
		}
	}
}

func (d *Set) limitedDisks() []*task {
	d.mu.Lock()
	defer d.mu.Unlock()
	var tasks []*task
	for _, t := range d.tasks {
		t.mu.Lock()
		if t.diskBytes > 0 && t.known && !t.final && !t.removed && t.record.State >= shim.Running {
			tasks = append(tasks, t)
		}
		t.mu.Unlock()
	}
	return tasks
}

// exceeds says whether the task holds more than it may; false as well when that cannot be found out, or need not be.
func (t *task) exceeds() bool {
	folders := t.driver.config.Kind.Folders(t.logDir, t.workDir)
	free := int64(0)
	for _, folder := range folders {
		here, err := diskFree(folder)
		if err != nil {
			return false // the folder is gone
		}
		free += here
	}
	since := time.Since(t.disk.at)
	if since < 20*t.disk.took || since < diskAtLeast && free > t.disk.free-t.disk.left {
		return false
	}
	began := time.Now()
	used := t.diskUsed(folders)
	t.disk = look{at: began, took: time.Since(began), free: free, left: t.diskBytes - used}
	return used > t.diskBytes
}

func diskFree(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bfree)*s.Bsize + int64(s.Ffree)*diskFileCost, nil
}

// diskUsed measures folders in which a hostile task works on: no link is followed, and each file counts once.
func (t *task) diskUsed(folders []string) int64 {
	m := measure{linked: map[inode]bool{}, disks: map[uint64]bool{}, limit: t.diskBytes}
	for _, path := range folders {
		m.tree(path)
	}
	m.unlinked(t.driver.cgroups.processes(t.id))
	return m.used
}

func (m *measure) tree(path string) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	folder := os.NewFile(uintptr(fd), path)
	defer folder.Close()
	var top unix.Stat_t
	if unix.Fstat(fd, &top) != nil {
		return
	}
	m.dev, m.disks[top.Dev] = top.Dev, true
	m.folder(folder, 0)
}

type measure struct {
	dev    uint64          // of the folder being measured
	disks  map[uint64]bool // of all of them
	linked map[inode]bool  // files with several names, or none
	limit  int64
	used   int64
}

type inode struct{ dev, number uint64 }

func (m *measure) count(s *unix.Stat_t) {
	if s.Nlink != 1 && s.Mode&unix.S_IFMT != unix.S_IFDIR {
		file := inode{s.Dev, s.Ino}
		if m.linked[file] {
			return
		}
		m.linked[file] = true
	}
	m.used += max(s.Blocks*512, diskFileCost)
}

// folder counts all in a folder; what is nested deeper than can be measured is more than any task may hold.
func (m *measure) folder(folder *os.File, depth int) {
	if depth > diskDeepest {
		m.used = math.MaxInt64 / 2
	}
	for m.used <= m.limit {
		names, err := folder.Readdirnames(1000)
		for _, name := range names {
			var s unix.Stat_t
			if unix.Fstatat(int(folder.Fd()), name, &s, unix.AT_SYMLINK_NOFOLLOW) != nil || s.Dev != m.dev {
				continue // gone meanwhile, or not on this disk
			}
			m.count(&s)
			if s.Mode&unix.S_IFMT != unix.S_IFDIR {
				continue
			}
			fd, err := unix.Openat(int(folder.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			inner := os.NewFile(uintptr(fd), name)
			m.folder(inner, depth+1)
			inner.Close()
		}
		if err != nil {
			return
		}
	}
}

// unlinked counts files that have no name any more and are still held open by the task.
func (m *measure) unlinked(pids []int) {
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		for _, entry := range entries {
			var s unix.Stat_t
			path := filepath.Join(dir, entry.Name())
			err := unix.Stat(path, &s)
			if err == nil && s.Nlink == 0 && s.Mode&unix.S_IFMT == unix.S_IFREG && (m.disks[s.Dev] || overlaid(path)) {
				m.count(&s)
			}
		}
	}
}

// overlaid says whether a file is seen through an overlay: then its disk's number is the overlay's own.
func overlaid(path string) bool {
	var s unix.Statfs_t
	return unix.Statfs(path, &s) == nil && s.Type == unix.OVERLAYFS_SUPER_MAGIC
}

// processes lists a task's processes, as far as a cgroup knows them.
func (c *cgroups) processes(id string) []int {
	for _, dir := range c.all(id) {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		var pids []int
		for line := range strings.Lines(string(data)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 1 {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	return nil
}
