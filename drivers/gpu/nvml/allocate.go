package nvml

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
)

// Allocate implements gpu.Provider.
func (p *Provider) Allocate(_ context.Context, request gpu.Request) (gpu.Grant, error) {
	request, err := check(request)
	if err != nil {
		return gpu.Grant{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.records[request.Task]; r != nil {
		if r.Phase == phaseHeld {
			return r.Grant, nil
		}
		if r.Released.IsZero() {
			return gpu.Grant{}, fmt.Errorf("allocate for task %s: %w: what was half made for it is still being taken back", request.Task, gpu.ErrNoRoom)
		}
		return gpu.Grant{}, fmt.Errorf("allocate for task %s: %w: it has been released", request.Task, drivers.ErrInvalid)
	}
	if p.api == nil {
		return gpu.Grant{}, fmt.Errorf("%w: %s", gpu.ErrNone, p.note)
	}
	var r *record
	switch request.Kind {
	case gpu.Whole:
		r, err = p.whole(request)
	case gpu.Slice:
		r, err = p.cutSlice(request)
	case gpu.Share:
		r, err = p.share(request)
	}
	if err != nil {
		return gpu.Grant{}, fmt.Errorf("allocate for task %s: %w", request.Task, err)
	}
	return r.Grant, nil
}

// validTask says whether a name may be a task's, and so a file's.
func validTask(id string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return id != "" && len(id) <= 64 && strings.Trim(id, letters+"._-") == "" && strings.Contains(letters, id[:1])
}

func check(r gpu.Request) (gpu.Request, error) {
	r.Kind = cmp.Or(r.Kind, gpu.Whole)
	r.Count = max(r.Count, 1)
	wrong := ""
	switch {
	case !validTask(r.Task):
		wrong = fmt.Sprintf("task id %q", r.Task)
	case r.Kind != gpu.Whole && r.Kind != gpu.Slice && r.Kind != gpu.Share:
		wrong = fmt.Sprintf("kind %q: it is whole, slice or share", r.Kind)
	case r.Kind != gpu.Whole && (r.Count > 1 || r.NVLink):
		wrong = "slices and shares are had singly"
	case r.Kind != gpu.Slice && r.Profile != "":
		wrong = "a profile is for slices"
	case r.MemoryBytes < 0:
		wrong = "negative memory"
	}
	if wrong != "" {
		return r, fmt.Errorf("allocate: %w: %s", drivers.ErrInvalid, wrong)
	}
	return r, nil
}

func suits(c *card, r gpu.Request) bool {
	return c.device != nil && gpu.Matches(c.Model, r.Model)
}

// whole finds free GPUs of one model: of the one with the least memory that fits.
func (p *Provider) whole(r gpu.Request) (*record, error) {
	free := map[string][]gpu.Device{}
	all := map[string][]gpu.Device{}
	var order []gpu.Device
	for _, c := range p.cards {
		if !suits(c, r) || c.MemoryBytes < r.MemoryBytes {
			continue
		}
		if all[c.Model] = append(all[c.Model], c.Device); len(all[c.Model]) == 1 {
			order = append(order, c.Device)
		}
		if p.empty(c) && (!c.on() || p.config.MIG) {
			free[c.Model] = append(free[c.Model], c.Device)
		}
	}
	slices.SortStableFunc(order, func(a, b gpu.Device) int { return cmp.Compare(a.MemoryBytes, b.MemoryBytes) })
	enough := false
	var failed error
	for _, model := range order {
		enough = enough || gpu.Joined(all[model.Model], r.Count, r.NVLink) != nil
		chosen := gpu.Joined(free[model.Model], r.Count, r.NVLink)
		if chosen == nil {
			continue
		}
		made, err := p.takeWhole(r, chosen)
		if err == nil {
			return made, nil
		}
		failed = errors.Join(failed, err)
	}
	switch {
	case failed != nil:
		return nil, failed
	case !enough:
		return nil, fmt.Errorf("%w: it would take %d of one model%s", gpu.ErrNone, r.Count, joined(r))
	}
	return nil, gpu.ErrNoRoom
}

func joined(r gpu.Request) string {
	if r.NVLink {
		return ", each joined with each by NVLink"
	}
	return ""
}

// empty says whether nobody, in a record or out of it, has anything of a GPU that is well.
func (p *Provider) empty(c *card) bool {
	state, _ := p.state(c)
	return state == gpu.StateFree
}

func (p *Provider) takeWhole(request gpu.Request, chosen []gpu.Device) (*record, error) {
	r := &record{Request: request}
	for _, d := range chosen {
		c := p.card(d.ID)
		if c.on() {
			if err := c.turn(false); err != nil {
				return nil, fmt.Errorf("%w: %w", gpu.ErrNoRoom, err)
			}
		}
		if err := c.set(p.config.Settings, gpu.Whole); err != nil {
			return nil, err
		}
		r.Parts = append(r.Parts, part{Device: c.ID})
		r.Grant.Devices = append(r.Grant.Devices, gpu.Granted{Device: c.ID, Model: c.Model, Visible: c.ID, MemoryBytes: c.MemoryBytes})
	}
	return r, p.hold(r)
}

// hold writes the allocation down, last of all.
func (p *Provider) hold(r *record) error {
	if err := p.equip(r); err != nil {
		return p.undoAfter(r, err)
	}
	r.Boot, r.Phase = p.boot, phaseHeld
	for i := range r.Parts {
		c := p.card(r.Parts[i].Device)
		p.turnover(c)
		r.Parts[i].Counter, r.Parts[i].Metered = c.counter()
	}
	if err := p.save(r); err != nil {
		return p.undoAfter(r, err)
	}
	p.records[r.Request.Task] = r
	return nil
}

func (p *Provider) undoAfter(r *record, err error) error {
	p.undo(r)
	return err
}

// undo takes back what was half made. A slice that cannot be destroyed is cleaned like a released one.
func (p *Provider) undo(r *record) {
	for _, part := range r.Parts {
		if c := p.card(part.Device); part.Sliced && c.device != nil {
			if err := c.mend(part.Place); err != nil {
				r.Phase, r.Unclean = phaseCleaning, err.Error()
				p.records[r.Request.Task] = r
				return
			}
		}
	}
	p.drop(r)
}

// share finds a GPU that is shared already and not by too many, then the free one with the least memory.
func (p *Provider) share(r gpu.Request) (*record, error) {
	if p.config.Shares == 0 {
		return nil, fmt.Errorf("%w: GPUs are not shared here", gpu.ErrNone)
	}
	var best *card
	most, any := -1, false
	for _, c := range p.cards {
		if !suits(c, r) || c.MemoryBytes < r.MemoryBytes {
			continue
		}
		any = true
		state, _ := p.state(c)
		held := len(p.holders(c, -1))
		cleaning := len(p.on(c)) > held
		if c.on() || cleaning || state != gpu.StateFree && state != gpu.StateShared || held >= p.config.Shares {
			continue
		}
		if held > most || held == most && held == 0 && c.MemoryBytes < best.MemoryBytes {
			best, most = c, held
		}
	}
	switch {
	case !any:
		return nil, gpu.ErrNone
	case best == nil:
		return nil, gpu.ErrNoRoom
	}
	if err := best.set(p.config.Settings, gpu.Share); err != nil {
		return nil, err
	}
	made := &record{Request: r, Parts: []part{{Device: best.ID}}}
	made.Grant.Devices = []gpu.Granted{{Device: best.ID, Model: best.Model, Visible: best.ID, MemoryBytes: best.MemoryBytes}}
	return made, p.hold(made)
}
