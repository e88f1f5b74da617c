package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/executor/wire"
)

const (
	// gpuStartPatience is how long a start waits for a provider that does not answer; then another machine may do better.
	gpuStartPatience = 2 * time.Minute
	// gpuEndPatience is how long an end is kept back for what the task used of GPUs.
	gpuEndPatience = 2 * time.Minute
	// remarksMax bounds what is noted of one run's GPUs.
	remarksMax = 16
)

// noGPU says that the run has not started because this machine has no GPU for it now.
type noGPU struct{ error }

// allocate gets the run the GPUs that it asks for. It may be repeated, by the next executor too: the answer is the same.
func (r *run) allocate(ctx context.Context) (grant gpu.Grant, err error) {
	asked := r.spec().GetGpu()
	if asked == nil {
		return grant, nil
	}
	if r.config.GPUs == nil {
		return grant, noGPU{errors.New("get GPUs: this machine provides none")}
	}
	starting, cancel := context.WithTimeout(ctx, gpuStartPatience)
	defer cancel()
	var last error
	err = again(starting, func() error {
		asking, cancel := context.WithTimeout(starting, gpuPatience)
		defer cancel()
		grant, last = r.config.GPUs.Allocate(asking, requestOf(r.journal.task, asked))
		return last
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return grant, ctx.Err()
	case errors.Is(err, gpu.ErrNoRoom), errors.Is(err, gpu.ErrNone), errors.Is(err, context.DeadlineExceeded):
		poke(r.gpuNews) // what the servers know of this machine is not so
		return grant, noGPU{fmt.Errorf("get GPUs: %w", last)}
	default:
		return grant, fmt.Errorf("get GPUs: %v", err) //nolint:errorlint // whatever it is, the command is not to blame
	}
	if r.journal.gpus == nil {
		if err := r.layout.write(r.journal, line{GPUs: grant.Devices}); err != nil {
			return grant, fmt.Errorf("keep which GPUs the task has: %w", err)
		}
		r.journal.gpus = grant.Devices
		r.has(grant.Devices)
	}
	return grant, r.config.step(r.id, "allocated")
}

// equip hands a task what it got: as devices where its driver makes a /dev for it, else by the variables that programs heed.
func equip(t *drivers.Task, can drivers.Description, grant gpu.Grant, specs string) {
	if slices.Contains(can.Devices, drivers.DevicesCDI) {
		if t.Devices = grant.CDI; len(t.Devices) > 0 {
			t.DeviceSpecs = specs
		}
		return
	}
	for _, entry := range grant.Env {
		name, _, _ := strings.Cut(entry, "=")
		t.Env = slices.DeleteFunc(t.Env, func(own string) bool { return strings.HasPrefix(own, name+"=") })
	}
	t.Env = append(t.Env, grant.Env...)
}

// release gives back what the run has of GPUs. Its driver has said that nothing of it runs any more.
func (r *run) release(ctx context.Context) error {
	if r.config.GPUs == nil || r.released || r.spec() != nil && r.spec().GetGpu() == nil {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, gpuPatience)
	defer cancel()
	used, err := r.config.GPUs.Release(asking, r.journal.task)
	switch {
	case err == nil:
		r.used = usageOf(used, r.spec().GetGpu(), r.journal.gpus)
	case !errors.Is(err, drivers.ErrNoTask): // which it never was, or not any more: then there is nothing to give back
		return fmt.Errorf("give back GPUs: %w", err)
	}
	r.released = true
	return r.config.step(r.id, "released")
}

// settle gives the GPUs back before an end is told, and adds to it what they tell. A provider that does not answer keeps back the
// end for a while, and the forgetting of the run for ever.
func (r *run) settle(ctx context.Context, end *wire.End) error {
	if !r.settled {
		waiting, cancel := context.WithTimeout(ctx, gpuEndPatience)
		defer cancel()
		err := again(waiting, func() error { return r.release(waiting) })
		switch {
		case ctx.Err() != nil, errors.Is(err, errHalted):
			return errors.Join(ctx.Err(), err)
		case err != nil:
			r.log.Warn("GPUs were not given back; it is tried again before the run is forgotten", "run", r.id, "error", err)
			end.Notes = append(end.Notes, fmt.Sprintf("what the task used of GPUs is unknown: %v", err))
		}
		r.mu.Lock()
		end.Notes = append(end.Notes, r.remarks...)
		r.mu.Unlock()
		r.settled = true
	}
	end.Gpu = r.used
	return nil
}

// blame makes an end our fault where a GPU is the reason for it. A task that ended well had what it paid for, and one that was to
// end was not hit.
func (r *run) blame(ctx context.Context, end *wire.End) {
	bad := end.GetCause() == wire.Cause_CAUSE_EXITED && end.GetCode() != 0 || end.GetCause() == wire.Cause_CAUSE_SIGNALLED ||
		end.GetCause() == wire.Cause_CAUSE_FAULT
	if !bad || len(r.journal.gpus) == 0 {
		return
	}
	why := r.failed()
	if why == "" {
		r.lookAtGPUs(ctx) // its event may be under way
		why = r.sickness()
	}
	if why != "" {
		end.Cause, end.Message = wire.Cause_CAUSE_FAULT, why
	}
}

// sickness is what the provider says of the run's GPUs, if one is sick.
func (r *run) sickness() string {
	r.Executor.mu.Lock()
	defer r.Executor.mu.Unlock()
	for _, d := range r.gpus.last.Devices {
		if d.State == gpu.StateSick && slices.ContainsFunc(r.journal.gpus, func(g gpu.Granted) bool { return g.Device == d.ID }) {
			return "its GPU failed: " + d.Reason
		}
	}
	return ""
}

// fail has the run ended as a fault of this machine.
func (r *run) fail(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault == "" {
		r.fault = why
		poke(r.changed)
	}
}

func (r *run) failed() string { r.mu.Lock(); defer r.mu.Unlock(); return r.fault }

// remark adds to what is told of the run at its end.
func (r *run) remark(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.remarks) < remarksMax {
		r.remarks = append(r.remarks, what)
	}
}
