package nvml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/coinop/coinop/drivers/gpu"
)

// sickness is what is on disk of a GPU that failed. It holds for the boot, or until somebody who has reset the GPU removes the file.
type sickness struct{ Boot, Reason string }

func (p *Provider) sickFile(c *card) string { return filepath.Join(p.sickDir(), c.ID) }

// sicken takes a GPU out of use. instance says whose slice was hit (-1: everybody's).
func (p *Provider) sicken(c *card, xid int, reason string, instance int) {
	if c.sick != "" {
		return
	}
	c.sick = reason
	p.config.Log.Error("a GPU is sick", "gpu", c.ID, "reason", reason)
	data, err := json.Marshal(sickness{p.boot, reason})
	if err == nil {
		err = replace(p.sickFile(c), data)
	}
	if err != nil {
		p.config.Log.Error("a GPU's sickness is not written down", "gpu", c.ID, "err", err)
	}
	p.hub.publish(gpu.Event{Device: c.ID, Sick: true, XID: xid, Reason: reason, Tasks: p.holders(c, instance)})
}

func (p *Provider) loadSick() {
	entries, err := os.ReadDir(p.sickDir())
	if err != nil {
		p.config.Log.Error("which GPUs are sick is not known", "err", err)
	}
	for _, entry := range entries {
		path := filepath.Join(p.sickDir(), entry.Name())
		data, err := os.ReadFile(path)
		var s sickness
		if err != nil || json.Unmarshal(data, &s) != nil {
			s = sickness{p.boot, "what is written down of its health is damaged"}
		}
		if s.Boot != p.boot || strings.HasSuffix(entry.Name(), "~") {
			_ = os.Remove(path)
			continue
		}
		c := p.card(entry.Name())
		if c == nil {
			c = p.absent(entry.Name())
		}
		c.sick = s.Reason
	}
}

// examine asks every GPU how it is.
func (p *Provider) examine() {
	for _, c := range p.cards {
		if c.sick != "" {
			if _, err := os.Stat(p.sickFile(c)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			c.sick = ""
			p.config.Log.Info("a GPU is to be used again", "gpu", c.ID)
			p.hub.publish(gpu.Event{Device: c.ID, Reason: "its record of sickness was removed"})
		}
		if reason := c.complaint(); reason != "" {
			p.sicken(c, 0, reason, -1)
		}
	}
}

// complaint is what is wrong with a GPU that tells of it when asked.
func (c *card) complaint() string {
	if c.device == nil {
		return "it is recorded and not found any more"
	}
	if _, ret := c.device.GetMemoryInfo(); ret == nvml.ERROR_GPU_IS_LOST || ret == nvml.ERROR_RESET_REQUIRED {
		return failure(ret).Error()
	}
	if n, ret := c.device.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC); ret == nvml.SUCCESS && n > 0 {
		return fmt.Sprintf("memory failed beyond correction, %d times since the driver was loaded", n)
	}
	if pending, ret := c.device.GetRetiredPagesPendingStatus(); ret == nvml.SUCCESS && pending == nvml.FEATURE_ENABLED {
		return "pages of memory are to be retired at the next reset"
	}
	if _, _, pending, failed, ret := c.device.GetRemappedRows(); ret == nvml.SUCCESS {
		switch {
		case failed:
			return "rows of memory could not be remapped: it is to be replaced"
		case pending:
			return "rows of memory are to be remapped at the next reset"
		}
	}
	return ""
}

// heardFor is how long one wait for an event lasts, since nothing interrupts it.
const heardFor = 250 * time.Millisecond

// listen takes up what the driver reports. Without events, examine finds what stays visible.
func (p *Provider) listen(ctx context.Context) {
	if p.api == nil {
		return
	}
	set, ret := p.api.EventSetCreate()
	if ret != nvml.SUCCESS {
		p.config.Log.Warn("errors of GPUs are seen only when they last", "err", failure(ret))
		return
	}
	defer func() { _ = set.Free() }() // the process ends with it
	registered := false
	for _, c := range p.cards {
		if c.device == nil {
			continue
		}
		types := uint64(nvml.EventTypeXidCriticalError | nvml.EventTypeDoubleBitEccError)
		if can, ret := c.device.GetSupportedEventTypes(); ret == nvml.SUCCESS {
			types &= can
		}
		if ret := c.device.RegisterEvents(types, set); ret != nvml.SUCCESS {
			p.config.Log.Warn("errors of a GPU are seen only when they last", "gpu", c.ID, "err", failure(ret))
			continue
		}
		registered = true
	}
	for registered && ctx.Err() == nil {
		data, ret := set.Wait(uint32(heardFor.Milliseconds()))
		switch ret {
		case nvml.SUCCESS:
			p.heard(data)
		case nvml.ERROR_TIMEOUT:
		default: // a lost GPU makes every wait fail; examine finds out which
			select {
			case <-time.After(heardFor):
			case <-ctx.Done():
			}
		}
	}
}

func (p *Provider) heard(data nvml.EventData) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.cards {
		if c.device != data.Device {
			continue
		}
		instance := -1
		if data.GpuInstanceId != ^uint32(0) {
			instance = int(data.GpuInstanceId)
		}
		if data.EventType == nvml.EventTypeDoubleBitEccError {
			p.sicken(c, 0, "memory lost two bits of a word", -1)
			return
		}
		xid := int(data.EventData)
		if reason, sick := gpu.Hardware(xid); sick {
			p.sicken(c, xid, fmt.Sprintf("XID %d: %s", xid, reason), instance)
			return
		}
		p.hub.publish(gpu.Event{Device: c.ID, Sick: c.sick != "", XID: xid, Reason: fmt.Sprintf("XID %d, a program's own error", xid), Tasks: p.holders(c, instance)})
		return
	}
}
