package tasks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
)

// task is one task as this process of the driver knows it; the truth is in the files of its folder.
type task struct {
	driver *Set
	id     string
	path   string // path of its status file
	logDir string

	workDir   string // measured if diskBytes is not 0
	diskBytes int64
	disk      look // only watchDisks uses it

	life sync.Mutex    // held while it is started or removed
	send chan struct{} // holds a token while a command is under way, so that answers are told apart
	wd   int32         // guarded by driver.mu

	mu         sync.Mutex
	record     shim.Record
	known      bool // record has been read
	attached   bool // started by an earlier process of the driver
	final      bool
	said       string // with final: why it never started, for people
	removed    bool
	child      int // pid of the shim if it is this process's child
	leaseUntil int64
	news       chan struct{} // closed and replaced with every change of record
}

var errNeverStarted = errors.New("no process of it ever ran")

func newTask(d *Set, id, logDir string) *task {
	return &task{driver: d, id: id, path: filepath.Join(d.tasksDir(), id), logDir: logDir, send: make(chan struct{}, 1), news: make(chan struct{})}
}

// attach takes up a task that an earlier process of the driver started.
func (d *Set) attach(t *task) error {
	err := d.follow(t)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.attached = true
	if errors.Is(err, os.ErrNotExist) { // it has become the exit record; its shim may still be putting things away
		if err := shim.Wait(t.path); err != nil {
			return err
		}
		return t.conclude()
	}
	if err != nil {
		return err
	}
	lease, err := shim.ReadLease(t.path)
	if err != nil {
		return err
	}
	t.leaseUntil = lease
	alive, err := shim.Alive(t.path)
	if err != nil {
		return err
	}
	if !alive {
		return t.conclude()
	}
	t.refresh()
	return nil
}

// changed is called after the status file changed; only Run calls it.
func (t *task) changed(closed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.final || t.removed {
		return
	}
	if !closed {
		t.refresh()
		return
	}
	if t.child != 0 {
		reap(t.child)
		t.child = 0
	}
	if record, err := shim.ReadExit(t.path); err == nil {
		t.finish(record)
		return
	}
	t.driver.wait.Go(t.autopsy) // rare and slow, so not in Run's way
}

// autopsy sees a task to its end whose shim left no exit record. Between the closing of the status file and the freeing of its
// lock lies a moment, which waiting for the lock covers.
func (t *task) autopsy() {
	err := shim.Wait(t.path)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.final || t.removed {
		return
	}
	if err == nil || errors.Is(err, os.ErrNotExist) { // somebody removed the status file, at which the shim has ended
		err = t.conclude()
	}
	if err != nil {
		t.driver.config.Log.Error("find out how the task ended", "task", t.id, "err", err)
	}
}

func reap(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// refresh reads the live status. A reader that always meets a half-written one will be called again by the next change.
func (t *task) refresh() {
	record, err := shim.ReadRecord(t.path)
	if err != nil || record.State == shim.Exited { // that is told when the shim has put everything away
		return
	}
	t.set(record)
}

func (t *task) set(record shim.Record) {
	t.record, t.known = record, true
	close(t.news)
	t.news = make(chan struct{})
	t.driver.hub.Publish(t.status())
}

// conclude establishes how a task ended whose shim is gone: by the exit record; else by the status, if the shim found no room
// for a record; else the shim was killed, and what it guarded goes with it.
func (t *task) conclude() error {
	record, err := shim.ReadExit(t.path)
	if errors.Is(err, shim.ErrNoRecord) {
		record, err = shim.ReadRecord(t.path)
		switch {
		case errors.Is(err, shim.ErrNoRecord) && t.known:
			record, err = t.bury(t.record), nil
		case errors.Is(err, shim.ErrNoRecord) && t.attached:
			return errNeverStarted
		case err == nil && record.State == shim.Exited:
		default:
			record, err = t.bury(record), nil
		}
	}
	if err != nil {
		return err
	}
	t.finish(record)
	return nil
}

func (t *task) finish(record shim.Record) {
	t.final, t.said = true, explain(record.Text())
	if record.Cause == shim.StartFailed {
		t.said = t.driver.config.Kind.Explain(t.logDir, t.said)
	}
	t.set(record)
}

// bury kills what a dead shim left behind and writes the record in its stead.
func (t *task) bury(last shim.Record) shim.Record {
	record := last
	record.State = shim.Lost
	record.Pid = 0
	record.Code = 125
	record.Ended = uint64(shim.Boottime())
	if n := len(record.Spans); n > 0 && record.Spans[n-1].To == 0 {
		record.Spans[n-1].To = record.Ended - record.Started
	}
	if last.Pid > 1 && !t.attached { // just now it was ours; after a restart the number may be another's
		_ = syscall.Kill(-int(last.Pid), syscall.SIGKILL)
	}
	if err := t.driver.cgroups.destroy(t.id); err != nil {
		t.driver.config.Log.Error("kill what a dead shim left", "task", t.id, "err", err)
	}
	if err := shim.WriteExit(t.path, t.logDir, record); err != nil {
		// It is dead all the same, which must be told; who looks after a restart finds out by the same way.
		t.driver.config.Log.Error("keep that a task's shim is dead", "task", t.id, "err", err)
	}
	return record
}

func (t *task) statusNow() drivers.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status()
}

func (t *task) status() drivers.Status {
	r := t.record
	s := drivers.Status{ID: t.id, Pid: int(r.Pid), StartedBoot: int64(r.Started), EndedBoot: int64(r.Ended)}
	switch r.State {
	case shim.Running:
		s.State = drivers.StateRunning
	case shim.Frozen:
		s.State = drivers.StateFrozen
	case shim.Exited:
		s.State = drivers.StateExited
	case shim.Lost:
		s.State = drivers.StateLost
	default:
		s.State = drivers.StateStarting
	}
	if !s.State.Final() { // set as soon as the first process ends, while its descendants are still being killed
		s.EndedBoot = 0
	}
	for _, span := range r.Spans {
		cause := drivers.FrozenByControl
		if span.Cause == shim.FrozenByLease {
			cause = drivers.FrozenByLease
		}
		s.Frozen = append(s.Frozen, drivers.Span{From: int64(span.From), To: int64(span.To), Cause: cause})
	}
	for i, limit := range drivers.Limits() {
		if r.Missing&(1<<i) != 0 {
			s.Missing = append(s.Missing, limit)
		}
	}
	if s.State.Final() {
		s.Exit = exit(r, t.said, t.diskBytes)
	}
	if teller, ok := t.driver.config.Kind.(Teller); ok {
		teller.Tell(t.logDir, &s)
	}
	return s
}

func exit(r shim.Record, said string, diskBytes int64) drivers.Exit {
	e := drivers.Exit{
		Code: int(r.Code), Signal: int(r.Signal), OOMSeen: r.Struck&shim.StruckMemory != 0, Message: said,
	}
	switch {
	case r.Cause == shim.DiskFull:
		e.Message = fmt.Sprintf("the disk limit struck: its work folder held more than %d bytes", diskBytes)
	case e.Message != "":
	case r.Cause == shim.Signalled && e.Signal == int(syscall.SIGXFSZ):
		e.Message = fmt.Sprintf("the disk limit struck: a file would have grown beyond %d bytes", diskBytes)
	case r.Struck&shim.StruckMemory != 0: // perhaps one process of several, of which the others do not know why
		e.Message = "the memory limit struck"
	case r.Struck&shim.StruckPids != 0:
		e.Message = "the limit of processes was reached"
	}
	switch {
	case r.State == shim.Lost:
		e.Cause = drivers.CauseShimLost
	case r.Cause == shim.Signalled:
		e.Cause = drivers.CauseSignalled
	case r.Cause == shim.OOM:
		e.Cause = drivers.CauseOOM
	case r.Cause == shim.DiskFull:
		e.Cause = drivers.CauseDisk
	case r.Cause == shim.LeaseLapsed:
		e.Cause = drivers.CauseLease
	case r.Cause == shim.Stopped:
		e.Cause = drivers.CauseStopped
	case r.Cause == shim.StartFailed:
		e.Cause = drivers.CauseStartFailed
	default:
		e.Cause = drivers.CauseExited
	}
	return e
}

// until waits for a record that satisfies the condition, or the task's end.
func (t *task) until(ctx context.Context, condition func(shim.Record) bool) (shim.Record, error) {
	for {
		t.mu.Lock()
		record, final, removed, news := t.record, t.final, t.removed, t.news
		known := t.known
		t.mu.Unlock()
		switch {
		case known && condition(record):
			return record, nil
		case final, removed:
			return record, drivers.ErrEnded
		}
		select {
		case <-news:
		case <-ctx.Done():
			return record, fmt.Errorf("wait for task %s: %w", t.id, context.Cause(ctx))
		}
	}
}
