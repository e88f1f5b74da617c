package nvml

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coinop/coinop/drivers/gpu"
)

// phase is where an allocation is in its life.
type phase string

const (
	phaseMaking   phase = "making" // written before a slice is made: if nothing follows, it is taken back
	phaseHeld     phase = "held"
	phaseCleaning phase = "cleaning" // given back; processes may still be there
	phaseReleased phase = "released" // kept for whoever did not hear the answer
)

// remembered is how long a released task's usage is told.
const remembered = time.Hour

// record is one task's allocation, as it is on disk too.
type record struct {
	Boot     string
	Phase    phase
	Request  gpu.Request
	Grant    gpu.Grant
	Parts    []part
	Unclean  string    `json:",omitempty"` // why it is not clean yet
	Gone     string    `json:",omitempty"` // what happened to its slice
	Released time.Time `json:",omitzero"`

	Peak       int64 // of memory
	Most       int   `json:",omitempty"` // processes at once
	UseSum     int64 // of utilisation, in thousandths
	UseSamples int64
	written    time.Time
}

// part is what it has of one GPU, and of this GPU's energy.
type part struct {
	Device   string
	Sliced   bool
	Place    gpu.Place
	Instance int
	Of       int // compute slices of the GPU, of which it has Slices
	Slices   int
	Counter  uint64 // of the GPU's energy, in millijoules, when it was read last
	Metered  bool   // the GPU has such a counter
	Energy   int64
	Clean    bool // nothing of the task is there any more: others may have it
}

func (p *Provider) recordFile(task string) string { return filepath.Join(p.taskDir(), task) }

// save writes a record; half a file is never seen.
func (p *Provider) save(r *record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write down task %s: %w", r.Request.Task, err)
	}
	r.written = time.Now()
	return replace(p.recordFile(r.Request.Task), data)
}

// replace needs no sync: after a loss of power no task has anything.
func replace(path string, data []byte) error {
	temporary := path + "~"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("write down: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("write down: %w", err)
	}
	return nil
}

func (p *Provider) forget(task string) error {
	delete(p.records, task)
	for _, path := range []string{p.cdiFile(task), p.recordFile(task)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget task %s: %w", task, err)
		}
	}
	return nil
}

// drop is forget where nobody waits for the answer.
func (p *Provider) drop(r *record) {
	if err := p.forget(r.Request.Task); err != nil {
		p.config.Log.Warn("a record stays", "err", err)
	}
}

// load reads the records. Those of an earlier boot are nothing any more: no task of it lives, and MIG instances end with it.
func (p *Provider) load() error {
	entries, err := os.ReadDir(p.taskDir())
	if err != nil {
		return fmt.Errorf("read what is allocated: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(p.taskDir(), entry.Name())
		if strings.HasSuffix(entry.Name(), "~") {
			_ = os.Remove(path)
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read what is allocated: %w", err)
		}
		var r record
		if err := json.Unmarshal(data, &r); err != nil || r.Request.Task != entry.Name() {
			return fmt.Errorf("read what is allocated: %s is damaged (%v): remove it when no task has a GPU", path, err)
		}
		if p.records[r.Request.Task] = &r; r.Boot != p.boot {
			if err := p.forget(r.Request.Task); err != nil {
				return err
			}
		}
	}
	return nil
}

// reconcile compares the records with the machine.
func (p *Provider) reconcile() {
	for _, r := range p.ordered() {
		for i := range r.Parts {
			if p.card(r.Parts[i].Device) == nil {
				p.absent(r.Parts[i].Device).Model = r.Grant.Devices[i].Model
			}
		}
	}
	p.loadSick()
	defer p.sweepCDI()
	for _, r := range p.ordered() {
		switch r.Phase {
		case phaseMaking:
			p.undo(r)
		case phaseHeld:
			p.missSlices(r)
		}
	}
}

// absent stands for a GPU that is written down and not found.
func (p *Provider) absent(id string) *card {
	c := &card{}
	c.ID, c.NUMA, c.Index, c.Minor = id, -1, -1, -1
	p.cards = append(p.cards, c)
	return c
}

// missSlices notes slices that somebody else destroyed.
func (p *Provider) missSlices(r *record) {
	for _, part := range r.Parts {
		c := p.card(part.Device)
		if !part.Sliced || c.device == nil || r.Gone != "" {
			continue
		}
		found, err := c.instances()
		if err != nil || slices.ContainsFunc(found, func(i instance) bool { return i.id == part.Instance && i.place == part.Place }) {
			continue
		}
		r.Gone = "its slice was destroyed by somebody else"
		p.config.Log.Error("a slice is gone", "task", r.Request.Task, "gpu", c.ID)
	}
}

// ordered lists the records by task, so that nothing depends on a map's order.
func (p *Provider) ordered() []*record {
	var all []*record
	for _, r := range p.records {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *record) int { return strings.Compare(a.Request.Task, b.Request.Task) })
	return all
}

func (p *Provider) card(id string) *card {
	for _, c := range p.cards {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// on lists the records that still have something of a GPU.
func (p *Provider) on(c *card) []*record {
	var all []*record
	for _, r := range p.ordered() {
		if slices.ContainsFunc(r.Parts, func(part part) bool { return part.Device == c.ID && !part.Clean }) {
			all = append(all, r)
		}
	}
	return all
}

// holders names the tasks that have a GPU, or the one whose slice has the instance, if it is one's (-1: no matter which).
func (p *Provider) holders(c *card, instance int) []string {
	var tasks []string
	for _, r := range p.on(c) {
		hit := slices.ContainsFunc(r.Parts, func(part part) bool {
			return part.Device == c.ID && (instance < 0 || !part.Sliced || part.Instance == instance)
		})
		if hit && r.Phase == phaseHeld {
			tasks = append(tasks, r.Request.Task)
		}
	}
	return tasks
}
