// Package nvml provides NVIDIA GPUs: a gpu.Provider by way of the driver's management library.
package nvml

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
)

// Config says which GPUs to provide and how.
type Config struct {
	Dir      string        // absolute: what is allocated, which GPUs are sick, the CDI spec of each task
	Library  string        // "": libnvidia-ml.so.1, where the dynamic linker finds it
	Root     string        // where the driver's /dev and /proc lie; "": /
	MIG      bool          // may turn MIG on for a free GPU when a slice is asked for, and off when a whole one is
	Shares   int           // how many tasks may take turns on a GPU; 0: it is not shared
	Settings gpu.Settings  // of each GPU, set before it is handed out
	Every    time.Duration // how often GPUs are looked at; 0: five seconds
	Log      *slog.Logger  `json:"-"` // nil: none
}

// Provider is a gpu.Provider. Without the library it has no GPUs and says why.
type Provider struct {
	config Config
	boot   string
	note   string // why there are none
	lacks  []string
	driver string
	api    nvml.Interface // nil: none
	hub    hub

	mu      sync.Mutex // guards the fields below, and keeps questions to the library apart from changes
	cards   []*card
	records map[string]*record // by task
}

var _ gpu.Provider = (*Provider)(nil)

// New loads the library, reads what is allocated, and takes back what a provider that was killed had half done. A missing library is
// no error. Run keeps looking at the GPUs.
func New(config Config) (*Provider, error) {
	if !filepath.IsAbs(config.Dir) || config.Shares < 0 || config.Settings.PowerLimitWatts < 0 {
		return nil, fmt.Errorf("provide GPUs: %w: it needs an absolute folder, and no negative shares or watts", drivers.ErrInvalid)
	}
	if _, err := computeMode(config.Settings.ComputeMode); err != nil {
		return nil, err
	}
	if p := config.Settings.Persistence; p != "" && p != "on" && p != "off" {
		return nil, fmt.Errorf("provide GPUs: %w: persistence is on or off, not %q", drivers.ErrInvalid, p)
	}
	if config.Library == "" {
		config.Library = "libnvidia-ml.so.1"
	}
	if config.Root == "" {
		config.Root = "/"
	}
	if config.Every == 0 {
		config.Every = 5 * time.Second
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	p := &Provider{config: config, records: map[string]*record{}}
	for _, dir := range []string{p.taskDir(), p.sickDir(), p.cdiDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("provide GPUs: %w", err)
		}
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("provide GPUs: %w", err)
	}
	p.boot = strings.TrimSpace(string(boot))
	api, err := open(config.Library)
	if err != nil {
		p.note = "no GPUs: " + err.Error()
	} else {
		p.api = api
		p.lacks = missing()
		p.driver, _ = api.SystemGetDriverVersion() // only for people
		p.find()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(); err != nil {
		return nil, err
	}
	p.reconcile()
	p.examine()
	p.clean()
	return p, nil
}

func (p *Provider) taskDir() string { return filepath.Join(p.config.Dir, "tasks") }
func (p *Provider) sickDir() string { return filepath.Join(p.config.Dir, "sick") }
func (p *Provider) cdiDir() string  { return filepath.Join(p.config.Dir, "cdi") }

// find lists the GPUs. One that does not answer keeps its place in the note.
func (p *Provider) find() {
	count, ret := p.api.DeviceGetCount()
	if ret != nvml.SUCCESS {
		p.note = fmt.Sprintf("no GPUs: count them: %v", failure(ret))
		return
	}
	var silent []string
	for i := range count {
		device, ret := p.api.DeviceGetHandleByIndex(i)
		if ret == nvml.SUCCESS {
			var c *card
			if c, ret = p.newCard(i, device); ret == nvml.SUCCESS {
				p.cards = append(p.cards, c)
				continue
			}
		}
		silent = append(silent, fmt.Sprintf("GPU %d: %v", i, failure(ret)))
	}
	p.link()
	switch {
	case count == 0:
		p.note = "no GPUs: NVIDIA's driver finds none"
	case len(silent) > 0:
		p.note = strings.Join(silent, "; ")
	}
}

// Run looks at the GPUs until ctx ends.
func (p *Provider) Run(ctx context.Context) error {
	defer p.hub.close()
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		p.listen(ctx)
	}()
	defer func() { <-heard }()
	ticker := time.NewTicker(p.config.Every)
	defer ticker.Stop()
	for {
		p.tick()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// tick does what time brings about.
func (p *Provider) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.examine()
	p.sample()
	p.clean()
}

// Inventory implements gpu.Provider.
func (p *Provider) Inventory(context.Context) (gpu.Inventory, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := gpu.Inventory{ProtocolVersion: gpu.ProtocolVersion, Driver: p.driver, Note: p.note, Missing: p.lacks}
	for _, c := range p.cards {
		all.Devices = append(all.Devices, p.show(c))
	}
	return all, nil
}

// Watch implements gpu.Provider.
func (p *Provider) Watch(ctx context.Context) (<-chan gpu.Event, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var present []gpu.Event
	for _, c := range p.cards {
		if c.sick != "" {
			present = append(present, gpu.Event{Device: c.ID, Sick: true, Reason: c.sick, Tasks: p.holders(c, -1)})
		}
	}
	for _, r := range p.ordered() {
		if r.Gone != "" && r.Phase == phaseHeld {
			present = append(present, gpu.Event{Device: r.Parts[0].Device, Reason: r.Gone, Tasks: []string{r.Request.Task}})
		}
	}
	return p.hub.watch(ctx, present)
}
