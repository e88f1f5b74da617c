// Package tasks keeps the tasks of a driver each of which stands beside a shim.
package tasks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/watch"
)

// Kind is what drivers of this sort differ in. Its methods are called from many goroutines, never twice at once for one task.
type Kind interface {
	// Check refuses what this kind of task can never be.
	Check(t drivers.Task) error
	// Prepare makes what the task needs before its shim is there, and completes what the shim is told.
	Prepare(ctx context.Context, t drivers.Task, spec *shim.Spec) error
	// Discard removes what Prepare made, all of it or what is left of it. dir is Task.Dir, "" if that is not known any more.
	Discard(id, dir string) error
	// Folders lists what counts to the task's disk.
	Folders(dir, workDir string) []string
	// Explain may say more of why a task never started than its shim could.
	Explain(dir, message string) string
}

// Teller is a Kind that knows more of a task than its shim does.
type Teller interface {
	// Tell corrects a status. It is called for each that is told, and must be quick.
	Tell(dir string, s *drivers.Status)
	// Measure corrects what a task used, after its end.
	Measure(dir string, u *drivers.Usage)
}

// Config says where a driver keeps what it knows.
type Config struct {
	Kind         Kind
	Dir          string       // absolute; the driver's own, 0700
	CgroupParent string       // below each hierarchy's mount; "" is its root
	NoCgroups    bool         // leave control groups alone
	NoUnified    bool         // leave version 2 of them alone
	Moves        bool         // its tasks may have gone on from elsewhere
	Log          *slog.Logger // nil: none
}

// Set is all tasks of one driver: its methods are those of drivers.Driver. Run must be running for statuses to change.
type Set struct {
	config   Config
	shim     string
	cgroups  cgroups
	inotify  *os.File
	lock     *os.File // of config.Dir
	hub      watch.Hub
	epoch    uint64 // tells this process's commands from those of its predecessors
	commands atomic.Uint64

	wait sync.WaitGroup // of what Run starts

	spares spares

	mu    sync.Mutex
	tasks map[string]*task
	wds   map[int32]*task // inotify's numbers
}

// New takes the folder, finds out what this machine allows and which tasks there are already. Run gives the folder back.
func New(config Config) (*Set, error) {
	if !filepath.IsAbs(config.Dir) {
		return nil, fmt.Errorf("%w: folder %q is not absolute", drivers.ErrInvalid, config.Dir)
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	d := &Set{config: config, tasks: map[string]*task{}, wds: map[int32]*task{}, epoch: uint64(time.Now().UnixNano())}
	if err := os.MkdirAll(d.tasksDir(), 0o700); err != nil {
		return nil, err
	}
	if err := d.lockDir(); err != nil {
		return nil, err
	}
	if err := d.open(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// lockDir keeps two processes from serving the same tasks. The lock ends with the process, however it ends.
func (d *Set) lockDir() error {
	file, err := os.OpenFile(filepath.Join(d.config.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return fmt.Errorf("folder %s is in use by another process: %w", d.config.Dir, err)
	}
	d.lock = file
	return nil
}

func (d *Set) close() {
	if d.inotify != nil {
		d.inotify.Close()
	}
	d.lock.Close()
}

func (d *Set) open() (err error) {
	config := d.config
	if d.shim, err = shim.Install(config.Dir); err != nil {
		return err
	}
	err = errors.Join(os.RemoveAll(d.linesDir()), os.Mkdir(d.linesDir(), 0o700)) // sockets of an earlier process lead nowhere
	if err != nil {
		return err
	}
	d.spares.dir = filepath.Join(config.Dir, "spares")
	if err := d.spares.open(); err != nil {
		return err
	}
	if !config.NoCgroups {
		if d.cgroups, err = findCgroups(config.CgroupParent, CgroupPrefix(config.Dir)); err != nil {
			return err
		}
	} else {
		d.cgroups.why = "cgroups are switched off in the driver's configuration"
	}
	if config.NoUnified {
		d.cgroups.unified, d.cgroups.controllers = "", nil
	}
	if d.inotify, err = openInotify(); err != nil {
		return err
	}
	return d.load()
}

// CgroupPrefix begins the names of the cgroups of all tasks of the driver in dir, so that drivers side by side don't meet.
func CgroupPrefix(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return fmt.Sprintf("coinop-%x-", sum[:4])
}

// tasksDir holds a record for each task, under its id.
func (d *Set) tasksDir() string { return filepath.Join(d.config.Dir, "tasks") }

// Plan says which cgroups a task of such limits has.
func (d *Set) Plan(t drivers.Task) []shim.Cgroup { return d.cgroups.plan(t) }

// Status is a task's present status, and where its driver's folder is.
func (d *Set) Status(id string) (s drivers.Status, dir string, err error) {
	t, err := d.find(id)
	if err != nil {
		return s, "", err
	}
	return t.statusNow(), t.logDir, nil
}

// Shim is the path of the shim's program.
func (d *Set) Shim() string { return d.shim }

// Try runs a shim by itself, of no task of the set, and returns how that ended.
func (d *Set) Try(spec shim.Spec) (message string, err error) {
	pid, err := shim.Start(d.shim, spec, func() error { return nil })
	if err != nil {
		return "", err
	}
	reap(pid)
	r, err := shim.ReadExit(spec.Record)
	if err != nil {
		return "", err
	}
	return explain(r.Text()), nil
}

// Running waits until a task runs, and says where its driver's folder is.
func (d *Set) Running(ctx context.Context, id string) (dir string, err error) {
	t, err := d.find(id)
	if err != nil {
		return "", err
	}
	if _, err := t.until(ctx, func(r shim.Record) bool { return r.State >= shim.Running }); err != nil {
		return "", fmt.Errorf("task %s: %w", id, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.final || t.removed {
		return "", fmt.Errorf("task %s: %w", id, drivers.ErrEnded)
	}
	return t.logDir, nil
}

// Watch implements drivers.Driver.
func (d *Set) Watch(ctx context.Context, id string) (<-chan drivers.Status, error) {
	return d.hub.Watch(ctx, id, func() ([]drivers.Status, error) {
		if id != "" {
			t, err := d.find(id)
			if err != nil {
				return nil, err
			}
			return []drivers.Status{t.statusNow()}, nil
		}
		d.mu.Lock()
		var tasks []*task
		for _, t := range d.tasks {
			tasks = append(tasks, t)
		}
		d.mu.Unlock()
		var statuses []drivers.Status
		for _, t := range tasks {
			if s := t.statusNow(); s.State != "" {
				statuses = append(statuses, s)
			}
		}
		return statuses, nil
	})
}

func (d *Set) find(id string) (*task, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tasks[id]
	if t == nil {
		return nil, fmt.Errorf("task %q: %w", id, drivers.ErrNoTask)
	}
	return t, nil
}

// load finds the tasks of earlier processes of this driver.
func (d *Set) load() error {
	names, err := shim.Names(d.tasksDir())
	if err != nil {
		return fmt.Errorf("load tasks: %w", err)
	}
	for _, id := range names {
		dir, err := shim.LogDir(filepath.Join(d.tasksDir(), id))
		if err != nil {
			return fmt.Errorf("load task %s: %w", id, err)
		}
		t := newTask(d, id, dir)
		if t.workDir, t.diskBytes, err = shim.Disk(t.path); err != nil {
			return fmt.Errorf("load task %s: %w", id, err)
		}
		err = d.attach(t)
		if errors.Is(err, errNeverStarted) {
			err = errors.Join(d.config.Kind.Discard(id, dir), shim.Remove(t.path, dir, ""))
		} else if err == nil {
			d.tasks[id] = t
		}
		if err != nil {
			return fmt.Errorf("load task %s: %w", id, err)
		}
	}
	return nil
}
