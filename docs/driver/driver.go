package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/watch"
)

// driver implements drivers.Driver. What it knows lies in one folder for each task, so it may be killed at any time.
type driver struct {
	dir string
	hub watch.Hub

	mu    sync.Mutex
	tasks map[string]*task
}

// task is one task as this process knows it.
type task struct {
	dir    string
	logs   string        // the task's Task.Dir
	lost   chan struct{} // closed when its keeper is gone
	mu     sync.Mutex
	status drivers.Status
	usage  drivers.Usage // with a final status
}

func newDriver(dir string) (*driver, error) {
	d := &driver{dir: dir, tasks: map[string]*task{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries { // tasks that an earlier process of this driver has started
		t := d.open(entry.Name())
		var spec drivers.Task
		if err := readFile(filepath.Join(t.dir, specFile), &spec); err == nil {
			t.logs = spec.Dir
		}
		d.tasks[entry.Name()] = t
		d.follow(t)
	}
	return d, nil
}

func (d *driver) open(id string) *task {
	return &task{dir: filepath.Join(d.dir, id), lost: make(chan struct{}), status: drivers.Status{ID: id, State: drivers.StateStarting}}
}

// Run has nothing to do: keepers tell of their tasks by themselves.
func (d *driver) Run(ctx context.Context) error {
	<-ctx.Done()
	d.hub.Close()
	return nil
}

func (d *driver) Describe(context.Context) (drivers.Description, error) {
	if os.Geteuid() != 0 {
		return drivers.Description{}, fmt.Errorf("%w: it needs root", drivers.ErrUnsupported)
	}
	description := drivers.Description{
		Name: "unshare", Version: "1", ProtocolVersion: drivers.ProtocolVersion, Isolation: drivers.IsolationProcess, Pause: true, Network: true,
	}
	for _, limit := range drivers.Limits() {
		support := drivers.LimitSupport{Limit: limit}
		switch limit {
		case drivers.LimitFiles, drivers.LimitUser:
			support.Supported = true
		case drivers.LimitLease:
			support.Supported, support.Reason = true, "by SIGSTOP, which another process of the same user could undo"
		default:
			support.Reason = "it makes no control groups"
		}
		description.Limits = append(description.Limits, support)
	}
	return description, nil
}

func (d *driver) Start(_ context.Context, request drivers.Task) (drivers.Status, error) {
	if request.From != "" {
		return drivers.Status{}, fmt.Errorf("start task %q: %w", request.ID, drivers.ErrUnsupported)
	}
	if err := check(request); err != nil {
		return drivers.Status{}, fmt.Errorf("start task %q: %w: %w", request.ID, drivers.ErrInvalid, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tasks[request.ID]
	if t == nil {
		t = d.open(request.ID)
		t.logs = request.Dir
		if err := startKeeper(t.dir, request); err != nil {
			return drivers.Status{}, errors.Join(fmt.Errorf("start task %q: %w", request.ID, err), os.RemoveAll(t.dir))
		}
		d.tasks[request.ID] = t
		d.hub.Publish(t.snapshot())
		d.follow(t)
	}
	return t.snapshot(), nil
}

func check(t drivers.Task) error {
	name := strings.Trim(strings.ToLower(t.ID), "abcdefghijklmnopqrstuvwxyz0123456789._-")
	switch {
	case t.ID == "" || len(t.ID) > 64 || name != "" || strings.ContainsAny(t.ID[:1], "._-"):
		return errors.New("this is no id of a task")
	case !filepath.IsAbs(t.Dir) || !filepath.IsAbs(t.WorkDir):
		return errors.New("its folders must be absolute")
	case len(t.Argv) == 0 || t.Hold:
		return errors.New("there is no command")
	case t.Image != "" || len(t.Devices) > 0:
		return errors.New("this driver has no images and no devices")
	case t.Share != "":
		return errors.New("this driver has no shared folders")
	case (t.UID == 0 || t.GID == 0) && !t.AllowRoot:
		return errors.New("it would run as root")
	}
	for _, text := range append(append([]string{}, t.Argv...), t.Env...) {
		if strings.ContainsRune(text, 0) || len(text) >= 128<<10 { // Linux takes no longer ones
			return errors.New("an argument or variable cannot be passed to a process")
		}
	}
	return nil
}

// follow takes in what a task's keeper says, in a goroutine that ends with the keeper.
func (d *driver) follow(t *task) {
	go func() {
		defer close(t.lost)
		watchKeeper(t.dir, func(s drivers.Status) { d.take(t, ending{Status: s}) })
		var end ending
		if err := readFile(filepath.Join(t.dir, endFile), &end); err != nil { // then nobody knows how it ended
			t.mu.Lock()
			end.Status = t.status
			t.mu.Unlock()
			end.Status.State, end.Status.Pid, end.Status.EndedBoot = drivers.StateLost, 0, boottime()
			end.Status.Exit = drivers.Exit{Code: 125, Cause: drivers.CauseShimLost, Message: "its keeper died"}
		}
		d.take(t, end)
	}()
}

func (d *driver) take(t *task, e ending) {
	t.mu.Lock()
	t.status, t.usage = e.Status, e.Usage
	t.mu.Unlock()
	d.hub.Publish(e.Status)
}

func (t *task) snapshot() drivers.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status
}

func (d *driver) find(id string) (*task, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.tasks[id]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("task %q: %w", id, drivers.ErrNoTask)
}

func (d *driver) Control(_ context.Context, id string, c drivers.Control) error {
	t, err := d.find(id)
	if err != nil {
		return err
	}
	if t.snapshot().State.Final() {
		return fmt.Errorf("task %q: %w", id, drivers.ErrEnded)
	}
	if c.Kind == drivers.Suspend || c.Kind == drivers.Resume || c.Kind == drivers.Export {
		return fmt.Errorf("control task %q: %w", id, drivers.ErrUnsupported)
	}
	if c.Kind < drivers.Signal || c.Kind > drivers.Lease || c.Kind == drivers.Signal && (c.Signal < 1 || c.Signal > 64) {
		return fmt.Errorf("control task %q: %w", id, drivers.ErrInvalid)
	}
	answer, err := askKeeper(t.dir, question{Control: &c})
	switch {
	case err != nil:
		<-t.lost
		return fmt.Errorf("task %q: %w", id, drivers.ErrEnded)
	case answer.Invalid:
		return fmt.Errorf("control task %q: %w: it has no lease", id, drivers.ErrInvalid)
	}
	return nil
}

func (d *driver) Exec(context.Context, string, drivers.ExecRequest, drivers.ExecStreams) (drivers.Exit, error) {
	return drivers.Exit{}, drivers.ErrUnsupported
}

func (d *driver) Watch(ctx context.Context, id string) (<-chan drivers.Status, error) {
	return d.hub.Watch(ctx, id, func() ([]drivers.Status, error) {
		if id != "" {
			t, err := d.find(id)
			if err != nil {
				return nil, err
			}
			return []drivers.Status{t.snapshot()}, nil
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		var all []drivers.Status
		for _, t := range d.tasks {
			all = append(all, t.snapshot())
		}
		return all, nil
	})
}

func (d *driver) Usage(_ context.Context, id string) (drivers.Usage, error) {
	t, err := d.find(id)
	if err != nil {
		return drivers.Usage{}, err
	}
	if !t.snapshot().State.Final() {
		if answer, err := askKeeper(t.dir, question{}); err == nil {
			return answer.Usage, nil
		}
		<-t.lost // it has just ended
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.usage, nil
}

func (d *driver) Remove(_ context.Context, id string) error {
	t, err := d.find(id)
	if errors.Is(err, drivers.ErrNoTask) {
		return nil
	}
	if !t.snapshot().State.Final() {
		_, _ = askKeeper(t.dir, question{Control: &drivers.Control{Kind: drivers.Kill}}) // it may have ended
	}
	<-t.lost
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tasks[id] != t {
		return nil
	}
	for _, stream := range streams() {
		if err := os.Remove(filepath.Join(t.logs, stream)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return fmt.Errorf("remove task %q: %w", id, err)
		}
	}
	if err := os.RemoveAll(t.dir); err != nil {
		return fmt.Errorf("remove task %q: %w", id, err)
	}
	delete(d.tasks, id)
	return nil
}
