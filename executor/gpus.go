package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/executor/wire"
)

const (
	// gpuEvery is how often the provider is asked what it has, beside the events that it tells of.
	gpuEvery = 15 * time.Second
	// gpuSoon is how often while it is cleaning one: somebody may wait for just that.
	gpuSoon = 2 * time.Second
	// gpuPatience is how long one question may take: a failing GPU can hold up NVIDIA's library for a minute.
	gpuPatience = 90 * time.Second
	// gpuSilent is how long the provider has to say what there is before its GPUs are not for sale. Whoever keeps it running ends one that
	// hangs, later: what is slow for a moment need not be killed, but nothing should be placed on it.
	gpuSilent = 10 * time.Second
	// gpuFirst is how long the first facts wait for the provider, so that a machine whose agent restarts does not lose its GPUs.
	gpuFirst = 2 * time.Second
)

// gpus is what the provider says.
type gpus struct {
	asked   bool          // once, or it has had its time: the first facts wait for that
	last    gpu.Inventory // it has told
	silence string        // why it has told none since; empty: it answers
}

// keepGPUs keeps up to date what GPUs this machine has. Nothing else waits for the provider but the runs that ask for GPUs.
func (e *Executor) keepGPUs(ctx context.Context) {
	first := time.AfterFunc(gpuFirst, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.gpus.asked = true
		e.tellFacts()
	})
	defer first.Stop()
	for {
		e.lookAtGPUs(ctx)
		wait := gpuEvery
		if e.cleaning() {
			wait = gpuSoon
		}
		next := time.NewTimer(wait)
		select {
		case <-next.C:
		case <-e.gpuNews:
		case <-ctx.Done():
			next.Stop()
			return
		}
		next.Stop()
	}
}

// cleaning says whether a GPU was given back and not yet seen clean.
func (e *Executor) cleaning() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.gpus.last.Devices, func(d gpu.Device) bool { return d.State == gpu.StateCleaning })
}

// lookAtGPUs asks the provider what there is. While it does not answer, no GPU is for sale.
func (e *Executor) lookAtGPUs(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, gpuPatience)
	defer cancel()
	silent := time.AfterFunc(gpuSilent, func() { e.mistrustGPUs(asking, fmt.Errorf("it was asked %s ago", gpuSilent)) })
	found, err := e.config.GPUs.Inventory(asking)
	silent.Stop()
	if ctx.Err() != nil {
		return
	}
	if err == nil && found.ProtocolVersion != gpu.ProtocolVersion {
		err = fmt.Errorf("it speaks version %d of the contract, this executor %d", found.ProtocolVersion, gpu.ProtocolVersion)
	}
	cancel() // what is found out too late to be told must not be told after this
	if err != nil {
		e.mistrustGPUs(ctx, err)
		return
	}
	e.mu.Lock()
	e.gpus = gpus{asked: true, last: found}
	e.tellFacts()
	e.mu.Unlock()
	e.disown(ctx, found)
}

// mistrustGPUs offers no GPU until the provider has told again what there is, or ctx has ended.
func (e *Executor) mistrustGPUs(ctx context.Context, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	e.log.Warn("the provider of GPUs does not answer", "error", why)
	e.gpus.silence, e.gpus.asked = plainText("the provider of GPUs does not answer: "+why.Error()), true
	e.tellFacts()
}

// addGPUs puts what is known of GPUs among the facts. The caller holds mu.
func (e *Executor) addGPUs(facts *wire.NodeFacts) {
	if e.config.NoGPUs != "" {
		facts.Missing = append(facts.Missing, "GPUs: "+e.config.NoGPUs)
	}
	facts.Missing = append(facts.Missing, gpuNotes(e.gpus.last)...)
	facts.Cards, facts.Gpus = cards(e.gpus.last.Devices)
	if e.gpus.silence == "" {
		return
	}
	facts.Missing, facts.Gpus = append(facts.Missing, "GPUs: "+e.gpus.silence), 0
	for _, c := range facts.Cards {
		c.Sick, c.Reason = true, e.gpus.silence
	}
}

// disown takes GPUs back from tasks that no run owns: their journals were lost. First nothing of such a task runs any more.
func (e *Executor) disown(ctx context.Context, found gpu.Inventory) {
	var stray []string
	for _, d := range found.Devices {
		for _, task := range d.Tasks {
			if e.byTask(task) == nil && !slices.Contains(stray, task) {
				stray = append(stray, task)
			}
		}
	}
	for _, task := range stray {
		e.log.Warn("a GPU belongs to a task that nobody knows; taking it back", "task", task)
		if err := e.takeBack(ctx, task); err != nil && ctx.Err() == nil {
			e.log.Warn("a GPU cannot be taken back; trying again", "task", task, "error", err)
		}
	}
}

func (e *Executor) takeBack(ctx context.Context, task string) error {
	ctx, cancel := context.WithTimeout(ctx, gpuPatience)
	defer cancel()
	for _, name := range sortedNames(e.config.Drivers) {
		if err := e.config.Drivers[name].Remove(ctx, task); err != nil {
			return err
		}
	}
	_, err := e.config.GPUs.Release(ctx, task)
	if errors.Is(err, drivers.ErrNoTask) {
		return nil
	}
	return err
}

// heedGPUs follows the provider's events, from the beginning again whenever they break off.
func (e *Executor) heedGPUs(ctx context.Context) {
	for wait := 20 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		began := e.config.Boot()
		err := e.heedStream(ctx)
		if ctx.Err() != nil {
			return
		}
		if e.config.Boot()-began > int64(time.Minute) {
			wait = 20 * time.Millisecond
		}
		e.log.Warn("the events of GPUs broke off; listening again", "error", err, "in", wait)
		poke(e.gpuNews) // what happened meanwhile was missed
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// heedStream heeds one stream of events to its end.
func (e *Executor) heedStream(ctx context.Context) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	patience := time.AfterFunc(gpuPatience, cancel) // for its beginning; it may then be silent as long as all is well
	events, err := e.config.GPUs.Watch(watching)
	patience.Stop()
	if err != nil {
		return err
	}
	for event := range events {
		e.heed(event)
	}
	return nil
}

// heed ends the tasks that a GPU failed. An error of a program's own is only noted.
func (e *Executor) heed(event gpu.Event) {
	e.log.Warn("a GPU reports", "gpu", event.Device, "sick", event.Sick, "xid", event.XID, "reason", event.Reason, "tasks", event.Tasks)
	for _, task := range event.Tasks {
		r := e.byTask(task)
		switch {
		case r == nil:
		case event.Sick:
			r.fail("its GPU failed: " + event.Reason)
		case event.XID == 0:
			r.fail("its GPU: " + event.Reason)
		default:
			r.remark("GPU: " + event.Reason)
		}
	}
	poke(e.gpuNews)
}
