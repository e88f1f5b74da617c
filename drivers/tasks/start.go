package tasks

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
)

// Start implements drivers.Driver.
func (d *Set) Start(ctx context.Context, request drivers.Task) (drivers.Status, error) {
	if err := d.check(request); err != nil {
		return drivers.Status{}, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return drivers.Status{}, fmt.Errorf("start task %s: %w", request.ID, err)
		}
		t, mine := d.claim(request)
		if !mine {
			t.life.Lock()   // until the one who claimed it has started it, or has failed, or has removed it
			t.life.Unlock() //nolint:staticcheck // it is held for nothing else
			t.mu.Lock()
			status, removed := t.status(), t.removed
			t.mu.Unlock()
			if removed {
				continue
			}
			return status, nil
		}
		err := d.start(ctx, t, request)
		if err != nil {
			d.forget(t)
		}
		t.life.Unlock()
		if err != nil {
			return drivers.Status{}, fmt.Errorf("start task %s: %w", request.ID, err)
		}
		return t.statusNow(), nil
	}
}

// claim returns the task of that id, or makes one, which then is the caller's to start and unlock.
func (d *Set) claim(request drivers.Task) (t *task, mine bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.tasks[request.ID]; t != nil {
		return t, false
	}
	t = newTask(d, request.ID, request.Dir)
	t.life.Lock()
	t.leaseUntil = request.LeaseUntil
	t.workDir, t.diskBytes = request.WorkDir, request.DiskBytes
	d.tasks[request.ID] = t
	return t, true
}

func (d *Set) start(ctx context.Context, t *task, request drivers.Task) error {
	spec := d.spec(t, request)
	if err := d.config.Kind.Prepare(ctx, request, &spec); err != nil {
		return errors.Join(err, d.config.Kind.Discard(t.id, t.logDir), shim.Remove(t.path, t.logDir, ""))
	}
	t.mu.Lock()
	spec.LeaseUntil = t.leaseUntil // which may have been renewed while an image came
	t.mu.Unlock()
	spec.Spare = d.spares.take()
	pid, err := shim.Start(d.shim, spec, func() error { return d.follow(t) })
	if errors.Is(err, unix.E2BIG) {
		err = fmt.Errorf("%w: command and environment: %w", drivers.ErrInvalid, err)
	}
	if err != nil {
		// The status file that was closed again looks like a shim that died. Told first that the task is gone, nobody
		// writes a record for it behind the removal.
		t.mu.Lock()
		t.removed = true
		t.mu.Unlock()
		return errors.Join(err, d.config.Kind.Discard(t.id, t.logDir), shim.Remove(t.path, t.logDir, ""))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.final { // it was quicker than this goroutine
		reap(pid)
		return nil
	}
	t.child = pid
	if !t.known {
		t.record.Missing = spec.Missing
	}
	return nil
}

func (d *Set) spec(own *task, t drivers.Task) shim.Spec {
	spec := shim.Spec{
		Record: own.path, LogDir: own.logDir, WorkDir: t.WorkDir, Argv: t.Argv, Env: t.Env, Share: t.Share, Chdir: t.Chdir,
		UID: t.UID, GID: t.GID, SetUser: os.Geteuid() == 0 && t.UID != 0,
		FilesMax: t.FilesMax, FileBytes: t.DiskBytes, DiskBytes: t.DiskBytes,
		LogHeadBytes: t.LogHeadBytes, LogTailBytes: t.LogTailBytes,
		LeaseUntil: t.LeaseUntil, LeaseGraceMillis: t.LeaseGraceMillis, KillDelayMillis: t.KillDelayMillis,
		Missing: d.missing(t), Cgroups: d.cgroups.plan(t),
	}
	if spec.LogHeadBytes == 0 {
		spec.LogHeadBytes = drivers.LogHeadBytesDefault
	}
	if spec.LogTailBytes == 0 {
		spec.LogTailBytes = drivers.LogTailBytesDefault
	}
	return spec
}

// forget drops a task from memory; its files are the caller's business.
func (d *Set) forget(t *task) {
	d.mu.Lock()
	if d.tasks[t.id] == t {
		delete(d.tasks, t.id)
	}
	if d.wds[t.wd] == t {
		delete(d.wds, t.wd)
	}
	d.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removed = true
	close(t.news)
	t.news = make(chan struct{})
}

// Remove implements drivers.Driver.
func (d *Set) Remove(ctx context.Context, id string) error {
	t, err := d.find(id)
	if errors.Is(err, drivers.ErrNoTask) {
		return d.config.Kind.Discard(id, "") // a start that was cut short may have left something under its name
	}
	if err != nil {
		return err
	}
	t.life.Lock()
	defer t.life.Unlock()
	for {
		t.mu.Lock()
		final, removed := t.final, t.removed
		t.mu.Unlock()
		if removed {
			return nil
		}
		if final {
			break
		}
		if err := t.command(ctx, shim.Message{Kind: shim.CommandKill}); err != nil && !errors.Is(err, drivers.ErrEnded) {
			return fmt.Errorf("remove task %s: %w", id, err)
		}
		if _, err := t.until(ctx, func(shim.Record) bool { return false }); !errors.Is(err, drivers.ErrEnded) {
			return fmt.Errorf("remove task %s: %w", id, err)
		}
	}
	d.unfollow(t)
	if err := d.config.Kind.Discard(t.id, t.logDir); err != nil { // before the records, since by these it is found
		return fmt.Errorf("remove task %s: %w", id, err)
	}
	spare, keep := d.spares.place()
	if err := shim.Remove(t.path, t.logDir, spare); err != nil {
		return fmt.Errorf("remove task %s: %w", id, err)
	}
	keep()
	d.forget(t)
	return nil
}
