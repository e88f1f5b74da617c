// Package process runs a task as a plain process of this machine, confined by its user and its control groups.
package process

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/watch"
)

// Config says where a driver keeps what it knows.
type Config struct {
	Dir          string       // absolute; the driver's own, 0700
	CgroupParent string       // below each hierarchy's mount; "" is its root
	NoCgroups    bool         // leave control groups alone
	Log          *slog.Logger // nil: none
}

// Driver implements drivers.Driver. Run must be running for statuses to change.
type Driver struct {
	config   Config
	shim     string
	cgroups  cgroups
	exposed  string // why tasks of one user cannot be kept from each other; "": they are
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

// idForm is what validID checks. It is not compiled: that would be done in every process, the client's too.
const idForm = `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`

func validID(id string) bool {
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return id != "" && len(id) <= 64
}

// New takes the folder, finds out what this machine allows and which tasks there are already. Run gives the folder back.
func New(config Config) (*Driver, error) {
	if !filepath.IsAbs(config.Dir) {
		return nil, fmt.Errorf("process driver: %w: folder %q is not absolute", drivers.ErrInvalid, config.Dir)
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{config: config, tasks: map[string]*task{}, wds: map[int32]*task{}, epoch: uint64(time.Now().UnixNano())}
	if err := os.MkdirAll(d.tasksDir(), 0o700); err != nil {
		return nil, fmt.Errorf("process driver: %w", err)
	}
	if err := d.lockDir(); err != nil {
		return nil, fmt.Errorf("process driver: %w", err)
	}
	if err := d.open(); err != nil {
		d.close()
		return nil, fmt.Errorf("process driver: %w", err)
	}
	return d, nil
}

// lockDir keeps two processes from serving the same tasks. The lock ends with the process, however it ends.
func (d *Driver) lockDir() error {
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

func (d *Driver) close() {
	if d.inotify != nil {
		d.inotify.Close()
	}
	d.lock.Close()
}

func (d *Driver) open() (err error) {
	config := d.config
	if d.shim, err = shim.Install(config.Dir); err != nil {
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
	d.exposed = d.probe()
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
func (d *Driver) tasksDir() string { return filepath.Join(d.config.Dir, "tasks") }

// Describe implements drivers.Driver.
func (d *Driver) Describe(context.Context) (drivers.Description, error) {
	description := drivers.Description{
		Name: "process", ProtocolVersion: drivers.ProtocolVersion, Isolation: drivers.IsolationProcess, Pause: true,
	}
	for _, limit := range drivers.Limits() {
		supported, why := d.support(limit)
		description.Limits = append(description.Limits, drivers.LimitSupport{Limit: limit, Supported: supported, Reason: why})
	}
	return description, nil
}

func (d *Driver) support(limit drivers.Limit) (supported bool, why string) {
	switch limit {
	case drivers.LimitDisk:
		return true, "by looking once a second: until then a task may write more"
	case drivers.LimitFiles:
		return true, ""
	case drivers.LimitUser:
		if os.Geteuid() != 0 {
			return false, "needs root"
		}
		return true, d.exposed
	case drivers.LimitLease:
		if !d.cgroups.freezes() {
			return true, "without a cgroup by SIGSTOP, which another process of the same user could undo"
		}
		return true, ""
	}
	if !d.cgroups.supports(limit) {
		return false, d.cgroups.why
	}
	return true, ""
}

// missing says which limits the task asks for and does not get.
func (d *Driver) missing(t drivers.Task) (bits uint32) {
	asked := map[drivers.Limit]bool{
		drivers.LimitCPU: t.CPUMilli > 0, drivers.LimitMemory: t.MemoryBytes > 0, drivers.LimitDisk: t.DiskBytes > 0,
		drivers.LimitPids: t.PidsMax > 0,
	}
	for i, limit := range drivers.Limits() {
		if supported, _ := d.support(limit); asked[limit] && !supported {
			bits |= 1 << i
		}
	}
	return bits
}

func (d *Driver) check(t drivers.Task) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("start task %q: %w: %s", t.ID, drivers.ErrInvalid, fmt.Sprintf(format, args...))
	}
	if !validID(t.ID) {
		return refuse("the id must match %s", idForm)
	}
	if !filepath.IsAbs(t.Dir) || !filepath.IsAbs(t.WorkDir) {
		return refuse("folders %q and %q must be absolute", t.Dir, t.WorkDir)
	}
	if len(t.Argv) == 0 {
		return refuse("there is no command")
	}
	for _, text := range append(append([]string{t.WorkDir}, t.Argv...), t.Env...) {
		if strings.IndexByte(text, 0) >= 0 {
			return refuse("a zero byte cannot be passed to a process")
		}
	}
	for _, n := range []int64{t.CPUMilli, t.MemoryBytes, t.DiskBytes, t.PidsMax, t.FilesMax, t.LogHeadBytes, t.LogTailBytes,
		t.LeaseUntil, t.LeaseGraceMillis, t.KillDelayMillis} {
		if n < 0 || n > 1<<62 {
			return refuse("limit %d is out of range", n)
		}
	}
	if t.CPUMilli > 1<<40 {
		return refuse("%d thousandths of a CPU are out of range", t.CPUMilli)
	}
	if len(t.Devices) > 0 {
		return refuse("a process task has no devices of its own")
	}
	switch root := os.Geteuid() == 0; {
	case !root && (t.UID != 0 || t.GID != 0) && (int(t.UID) != os.Geteuid() || int(t.GID) != os.Getegid()):
		return refuse("running as user %d needs root", t.UID)
	case root && (t.UID == 0 || t.GID == 0) && !t.AllowRoot:
		return refuse("it would run as root, and AllowRoot is not set")
	}
	return nil
}

// Exec implements drivers.Driver: a process task has no inside to run a command in.
func (d *Driver) Exec(context.Context, string, drivers.ExecRequest, drivers.ExecStreams) (drivers.Exit, error) {
	return drivers.Exit{}, drivers.ErrUnsupported
}

// Watch implements drivers.Driver.
func (d *Driver) Watch(ctx context.Context, id string) (<-chan drivers.Status, error) {
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

func (d *Driver) find(id string) (*task, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tasks[id]
	if t == nil {
		return nil, fmt.Errorf("task %q: %w", id, drivers.ErrNoTask)
	}
	return t, nil
}

// load finds the tasks of earlier processes of this driver.
func (d *Driver) load() error {
	names, err := shim.Names(d.tasksDir())
	if err != nil {
		return fmt.Errorf("load tasks: %w", err)
	}
	for _, id := range names {
		logDir, err := shim.LogDir(filepath.Join(d.tasksDir(), id))
		if err != nil {
			return fmt.Errorf("load task %s: %w", id, err)
		}
		t := newTask(d, id, logDir)
		if t.workDir, t.diskBytes, err = shim.Disk(t.path); err != nil {
			return fmt.Errorf("load task %s: %w", id, err)
		}
		err = d.attach(t)
		if errors.Is(err, errNeverStarted) {
			err = shim.Remove(t.path, logDir, "")
		} else if err == nil {
			d.tasks[id] = t
		}
		if err != nil {
			return fmt.Errorf("load task %s: %w", id, err)
		}
	}
	return nil
}
