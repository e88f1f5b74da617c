package nvml

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
)

// Release implements gpu.Provider.
func (p *Provider) Release(_ context.Context, task string) (gpu.Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.records[task]
	if r == nil {
		return gpu.Usage{}, fmt.Errorf("release task %s: %w", task, drivers.ErrNoTask)
	}
	if r.Phase == phaseHeld {
		p.examine() // so the inventory after this tells whether the task ended because its GPU did
		p.observe(r)
		for _, part := range r.Parts {
			p.turnover(p.card(part.Device))
		}
		before := r.Phase
		r.Phase, r.Unclean, r.Released = phaseCleaning, "not looked at yet", time.Now()
		if err := p.save(r); err != nil {
			r.Phase = before
			return gpu.Usage{}, err
		}
		p.clean()
	}
	return p.usage(r), nil
}

// clean looks at what was given back, and frees what is clean. Old answers are forgotten.
func (p *Provider) clean() {
	for _, r := range p.ordered() {
		switch {
		case r.Phase == phaseCleaning:
			if err := p.wipe(r); err != nil {
				if r.Unclean != err.Error() {
					p.config.Log.Warn("a GPU is not clean yet", "task", r.Request.Task, "err", err)
				}
				r.Unclean = err.Error()
				continue
			}
			if r.Released.IsZero() { // it was never held
				p.drop(r)
				continue
			}
			r.Phase, r.Unclean = phaseReleased, ""
			if err := p.save(r); err != nil {
				p.config.Log.Warn("a released task is not written down", "err", err)
			}
		case r.Phase == phaseReleased && time.Since(r.Released) > remembered:
			p.drop(r)
		}
	}
}

// wipe is nil when nothing of the task is on its GPUs any more. Each is free as soon as it is clean, whatever the others are.
func (p *Provider) wipe(r *record) error {
	var unclean []error
	for i := range r.Parts {
		if err := p.wipePart(r, r.Parts[i]); err != nil {
			unclean = append(unclean, err)
			continue
		}
		r.Parts[i].Clean = true
	}
	if len(unclean) > 0 {
		return errors.Join(unclean...)
	}
	return p.unequip(r)
}

// wipePart looks at one GPU. On a shared one the others' processes are not told apart, so there only the last to go is looked at.
func (p *Provider) wipePart(r *record, part part) error {
	c := p.card(part.Device)
	if part.Clean || c.device == nil || r.Request.Kind == gpu.Share && len(p.holders(c, -1)) > 0 {
		return nil
	}
	found, err := c.processes()
	if err != nil {
		return err
	}
	for _, process := range found {
		if !part.Sliced || int(process.GpuInstanceId) == part.Instance {
			return fmt.Errorf("process %d still uses it", process.Pid)
		}
	}
	if part.Sliced {
		return c.mend(part.Place)
	}
	return nil
}
