package inproc

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/scheduler"
)

// footprint is what a cluster takes at one moment: all its servers and executors, which are this process.
type footprint struct {
	heap       int64 // bytes, after a collection
	goroutines int64
	files      int64 // descriptors
	jobs       int64 // in memory, until their retention is over
	events     int64 // so far
	dirs       map[string]size
}

// size is what lies in a folder, or a part of it.
type size struct{ files, bytes int64 }

// footprint looks at a cluster that has nothing to do.
func (c *Cluster) footprint() footprint {
	c.T.Helper()
	c.User.http.CloseIdleConnections()
	c.Wait(time.Minute)
	emptyPools()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	open, err := os.ReadDir("/proc/self/fd")
	c.User.must(err)
	view := c.Leader().View()
	f := footprint{
		heap: int64(memory.HeapAlloc), goroutines: int64(runtime.NumGoroutine()), files: int64(len(open)),
		jobs: int64(view.JobCount()), events: int64(view.Seq()), dirs: map[string]size{},
	}
	for _, s := range c.Servers {
		c.weigh(f.dirs, s.Name, s.Config.Dir)
	}
	for _, e := range c.Executors {
		c.weigh(f.dirs, e.Name, e.Config.Dir)
	}
	return f
}

// weigh adds up a folder by its parts: what lies in one of its folders, or is one file and what goes with it.
func (c *Cluster) weigh(sum map[string]size, name, dir string) {
	c.T.Helper()
	c.User.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		part, _ := filepath.Rel(dir, path)
		part, _, _ = strings.Cut(part, string(filepath.Separator))
		part, _, _ = strings.Cut(part, "-") // of SQLite
		key := name + "/" + part
		sum[key] = size{sum[key].files + 1, sum[key].bytes + info.Size()}
		return nil
	}))
}

// What a cluster keeps on purpose, and no more: jobs for seven days with their files, coins that were spent as long as their
// keyset (the pots' of an hour are counted with its jobs here), and events for ever.
const (
	heapPerJob  = 10 << 10 // bytes, of three servers together
	heapSlack   = 1 << 20  // raft has up to three connections to each peer, with 256 KiB each
	blobsPerJob = 2        // an input, an output
	statePerJob = 4 << 10
	logSlack    = 1 << 20 // segments come whole
	bookPerOne  = 1 << 10 // bytes of an event
	bookSlack   = 5 << 20 // SQLite's own log goes up to four
	countSlack  = 12      // goroutines, descriptors, files
)

// since says what has grown beyond that since an earlier moment.
func (f footprint) since(before footprint) (grown []string) {
	most := func(what string, was, is, slack int64) {
		if is > was+slack {
			grown = append(grown, fmt.Sprintf("%s: %d, it was %d, and at most %d more are right", what, is, was, slack))
		}
	}
	jobs, events := max(0, f.jobs-before.jobs), f.events-before.events
	most("heap", before.heap, f.heap, heapSlack+jobs*heapPerJob)
	most("goroutines", before.goroutines, f.goroutines, countSlack)
	most("open files", before.files, f.files, countSlack)
	for _, name := range f.parts() {
		is, was := f.dirs[name], before.dirs[name]
		switch _, part, _ := strings.Cut(name, "/"); part {
		case "book.db":
			most(name+" files", was.files, is.files, 2)
			most(name+" bytes", was.bytes, is.bytes, bookSlack+events*bookPerOne)
		case "blobs":
			most(name+" files", was.files, is.files, countSlack+blobsPerJob*jobs)
		default:
			most(name+" files", was.files, is.files, countSlack)
			most(name+" bytes", was.bytes, is.bytes, logSlack+jobs*statePerJob)
		}
	}
	return grown
}

func (f footprint) parts() []string {
	var names []string
	for name := range f.dirs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (f footprint) String() string {
	text := fmt.Sprintf("heap %d KiB, %d goroutines, %d open files, %d jobs in memory, %d events", f.heap>>10, f.goroutines, f.files, f.jobs, f.events)
	for _, name := range f.parts() {
		text += fmt.Sprintf("; %s %d files %d KiB", name, f.dirs[name].files, f.dirs[name].bytes>>10)
	}
	return text
}

// date gives new files the cluster's time instead of the machine's: what is kept for a while is kept for a while of this time.
func (c *Cluster) date() {
	c.T.Helper()
	for _, s := range c.Servers {
		_ = filepath.WalkDir(filepath.Join(s.Config.Dir, "blobs"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // it has just gone
			}
			if info, err := d.Info(); err == nil && info.ModTime().After(time.Now()) {
				_ = os.Chtimes(path, time.Now(), time.Now())
			}
			return nil
		})
	}
}

// known says whether a job is still in memory.
func (c *Cluster) known(j Job) bool {
	_, ok := c.Leader().View().Job(scheduler.JobID(j.Job))
	return ok
}

// realClock is the machine's own, which goes on while the cluster's stands still.
func realClock() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}
