package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/executor/wire"
)

// leaseLeastNs is how much of a lease must be left for a start: less, and the shim would find it lapsed.
const leaseLeastNs = int64(time.Second)

// limitSlackNs is how far behind the time limit a lease may reach. It lets a task whose executor is gone be frozen at its
// limit, and leaves the kill at the limit itself to the executor that is there.
const limitSlackNs = 2 * int64(time.Second)

// errUndone: nobody waits for the start any more, and nothing of it is left.
var errUndone = errors.New("its start was made undone")

// refusal is an error that is due to the command or its files, not to the machine.
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// begin prepares and starts the run. An end means that it never started; errUnwanted that nobody waits for that end.
func (r *run) begin(ctx context.Context) (*ended, error) {
	wanted, cancel := r.whileWanted(ctx)
	defer cancel()
	err := r.start(ctx, wanted)
	var refused *refusal
	var without noGPU
	var apart notShared
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil, errors.Is(err, errHalted):
		return nil, err
	case errors.Is(err, errUndone), wanted.Err() != nil && !r.wasStarted():
		return r.neverStarted()
	case errors.As(err, &without):
		return endWithout(r.boot, wire.Cause_CAUSE_NO_ROOM, err.Error()), nil
	case errors.As(err, &apart): // which the facts say too, so it does not come back at once
		return endWithout(r.boot, wire.Cause_CAUSE_LEAVING, err.Error()), nil
	case r.journal.starting == "" && diskTrouble(err) && r.noRoom(): // its driver was not asked, and another machine can do better
		r.diskFailed(err)
		return endWithout(r.boot, wire.Cause_CAUSE_LEAVING, err.Error()), nil
	case errors.As(err, &refused), errors.Is(err, drivers.ErrInvalid):
		end := endWithout(r.boot, wire.Cause_CAUSE_START_FAILED, err.Error())
		end.status.End.Code = codeNotExecutable
		return end, nil
	}
	return nil, err
}

// noRoom says whether the disk takes nothing even without what was put there for this run.
func (r *run) noRoom() bool {
	_ = removeAll(filepath.Join(r.layout.run(r.id), workDir)) // what stays is removed with the run
	return r.probe() != nil
}

// codeNotExecutable is what a shell says of a command that cannot be run.
const codeNotExecutable = 126

// whileWanted returns a context that ends with ctx or when the run must not start any more.
func (r *run) whileWanted(ctx context.Context) (context.Context, context.CancelFunc) {
	wanted, cancel := context.WithCancel(ctx)
	r.wg.Go(func() {
		select {
		case <-r.unwanted:
			cancel()
		case <-wanted.Done():
		}
	})
	return wanted, cancel
}

func (r *run) neverStarted() (*ended, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.dropped:
		return nil, errUnwanted
	case r.leaving:
		return endWithout(r.boot, wire.Cause_CAUSE_LEAVING, "the executor is stopping"), nil
	}
	return endWithout(r.boot, wire.Cause_CAUSE_STOPPED, "stopped before it started"), nil
}

func (r *run) start(ctx, wanted context.Context) error {
	driver := r.config.Drivers[r.journal.spec.GetDriver()]
	if driver == nil {
		return fmt.Errorf("start task: this machine has no driver %q", r.journal.spec.GetDriver())
	}
	user, err := r.users.find(r.spec().GetUser(), r.config.User)
	if err != nil {
		return err
	}
	if r.journal.starting == "" { // else all that is done already
		if err := r.mayShare(ctx); err != nil {
			return err
		}
		err := r.slot(wanted, r.prepare, func() error { return r.makeReady(wanted, user) })
		if err != nil {
			return err
		}
	}
	grant, err := r.allocate(wanted)
	if err != nil {
		return err
	}
	if err := r.awaitGo(wanted); err != nil {
		return err
	}
	if r.journal.starting == "" {
		if err := r.layout.write(r.journal, line{Starting: r.boot}); err != nil {
			return fmt.Errorf("keep that the task is starting: %w", err)
		}
		r.journal.starting = r.boot
	}
	if err := r.config.step(r.id, "starting"); err != nil {
		return err
	}
	can, err := r.describes(ctx, r.spec().GetDriver())
	if err != nil {
		return err
	}
	// From here on the outcome must be known, wanted or not. An image may be long in coming, though, and a start that nobody
	// waits for is made undone.
	var status drivers.Status
	r.mu.Lock()
	r.leased, r.granted = leases(can), r.written
	r.mu.Unlock()
	err = again(wanted, func() error {
		var err error
		status, err = driver.Start(wanted, r.task(user, can, grant))
		return err
	})
	if err != nil && wanted.Err() != nil && ctx.Err() == nil {
		if err := r.removeTask(ctx); err != nil {
			return err
		}
		return errUndone
	}
	if err != nil {
		return fmt.Errorf("start task: %w", err)
	}
	if spec := r.spec(); spec.GetFrom() != nil {
		if err := os.Remove(r.stateFile(spec.GetFrom())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.log.Warn("what a run was brought back from could not be removed", "run", r.id, "error", err)
		}
	}
	if err := r.config.step(r.id, "started"); err != nil {
		return err
	}
	r.observe(status)
	return nil
}

func (r *run) spec() *wire.Spec { return r.journal.spec }

// slot does what must not be done for too many runs at once.
func (r *run) slot(ctx context.Context, slots chan struct{}, do func() error) error {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-slots }()
	return do()
}

// makeReady begins the journal and fills the work folder.
func (r *run) makeReady(ctx context.Context, user user) error {
	if !r.adopted {
		if err := r.layout.writeSpec(r.journal); err != nil {
			return fmt.Errorf("keep the run's spec: %w", err)
		}
	}
	if err := r.config.step(r.id, "spec written"); err != nil {
		return err
	}
	if err := r.fill(ctx, user); err != nil {
		return err
	}
	if from := r.spec().GetFrom(); from != nil {
		if err := r.bringBack(ctx, from); err != nil {
			return err
		}
	}
	return r.config.step(r.id, "prepared")
}

// awaitGo returns when the run is ordered to run and its lease is worth starting on.
func (r *run) awaitGo(ctx context.Context) error {
	for {
		now := r.config.Boot()
		r.mu.Lock()
		run, started := r.order.GetWant() == wire.Want_WANT_RUN && !r.refused, r.order.GetStarted()
		if r.order.GetWant() == wire.Want_WANT_PAUSE {
			r.version = r.order.GetVersion() // not starting is all that this asks
		}
		r.mu.Unlock()
		lease, byMoney := r.leaseAt(now)
		if run && started {
			return errors.New("the servers know that it had started, and nothing of it is here any more")
		}
		if run && lease-now >= leaseLeastNs {
			r.mu.Lock()
			r.began, r.written, r.active = now, lease, true
			if byMoney {
				r.cut(lease)
			}
			r.version = r.order.GetVersion()
			if r.order.GetNotice() == nil {
				r.obeyed = r.version
			}
			r.mu.Unlock()
			return nil
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// task is what the driver is asked to start.
func (r *run) task(user user, can drivers.Description, grant gpu.Grant) drivers.Task {
	spec := r.spec()
	dir := r.layout.run(r.id)
	there := cmp.Or(can.WorkDir, filepath.Join(dir, workDir)) // the work folder as the task sees it
	r.mu.Lock()
	order, lease := r.order, r.written
	r.mu.Unlock()
	argv := spec.GetArgv()
	if len(spec.GetScript()) > 0 {
		argv = append([]string{filepath.Join(there, scriptFile)}, argv...)
	}
	task := drivers.Task{
		ID: r.journal.task, Dir: filepath.Join(dir, driverDir), WorkDir: filepath.Join(dir, workDir),
		Argv: argv, Env: r.environment(order, r.config.Boot(), there, r.noticeSeen(can)), Image: spec.GetImage(),
		Entrypoint: spec.GetBox().GetEntrypoint(), StartDir: spec.GetBox().GetWorkDir(), ReadOnlyRoot: spec.GetBox().GetReadOnly(), ShmBytes: spec.GetBox().GetShmBytes(),
		Hold: spec.GetHold(), NoticeDir: r.noticeShown(can), Share: spec.GetShare(), Chdir: spec.GetChdir(),
		UID: user.uid, GID: user.gid, From: r.stateFile(spec.GetFrom()),
		CPUMilli: spec.GetCpuMilli(), MemoryBytes: spec.GetMemoryBytes(), DiskBytes: cmp.Or(spec.GetDiskBytes(), diskUnasked(spec)),
		PidsMax: cmp.Or(spec.GetPidsMax(), r.config.PidsMax), FilesMax: cmp.Or(spec.GetFilesMax(), r.config.FilesMax),
		LeaseUntil:       lease,
		LeaseGraceMillis: cmp.Or(spec.GetLeaseGraceMs(), r.config.LeaseGrace.Milliseconds()),
		KillDelayMillis:  spec.GetKillDelayMs(),
		Network:          spec.GetNetwork(),
	}
	equip(&task, can, grant, r.config.GPUSpecs)
	return task
}

// find asks the driver for a run of an earlier executor, whatever the journal says: it may have lost its last line.
func (r *run) find(ctx context.Context) (bool, error) {
	status, err := r.ask(ctx)
	if errors.Is(err, drivers.ErrNoTask) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	r.active, r.began = true, max(status.StartedBoot, 1)
	r.mu.Unlock()
	r.observe(status)
	poke(r.renew)
	return true, nil
}

// ask returns what the driver knows of the task, ErrNoTask if nothing.
func (r *run) ask(ctx context.Context) (status drivers.Status, err error) {
	driver := r.config.Drivers[r.spec().GetDriver()]
	if driver == nil {
		return status, fmt.Errorf("this machine has no driver %q any more: %w", r.spec().GetDriver(), drivers.ErrNoTask)
	}
	err = again(ctx, func() error {
		watching, cancel := context.WithCancel(ctx)
		defer cancel()
		news, err := driver.Watch(watching, r.journal.task)
		if err != nil {
			return err
		}
		var open bool
		if status, open = <-news; !open {
			return errors.Join(drivers.ErrUnavailable, ctx.Err())
		}
		return nil
	})
	if err != nil {
		return status, fmt.Errorf("ask for task %s: %w", r.journal.task, err)
	}
	return status, nil
}
