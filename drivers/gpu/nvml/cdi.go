package nvml

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coinop/coinop/drivers/cdi"
)

// cdiKind is the vendor and class of our CDI devices. NVIDIA's own would clash with the spec that its toolkit may have written.
const cdiKind = "coinop/gpu"

// driverFiles are what a container needs of the machine's driver and no image can bring: its libraries, which carry its version, by
// the names under which programs load them, and nvidia-smi.
func (p *Provider) driverFiles() []cdi.Mount {
	var mounts []cdi.Mount
	add := func(path string) {
		inside := "/" + strings.TrimLeft(strings.TrimPrefix(path, p.config.Root), "/")
		mounts = append(mounts, cdi.Mount{HostPath: path, ContainerPath: inside, Options: []string{"ro", "nosuid", "nodev", "rbind"}})
	}
	for _, dir := range []string{"usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib"} {
		names, err := filepath.Glob(filepath.Join(p.config.Root, dir, "*.so*"))
		if err != nil || p.driver == "" {
			continue
		}
		for _, path := range names {
			if target, err := filepath.EvalSymlinks(path); err == nil && strings.HasSuffix(target, ".so."+p.driver) {
				add(path)
			}
		}
	}
	if path := filepath.Join(p.config.Root, "usr/bin/nvidia-smi"); len(mounts) > 0 {
		if _, err := os.Stat(path); err == nil {
			add(path)
		}
	}
	return mounts
}

func (p *Provider) cdiFile(task string) string {
	return filepath.Join(p.cdiDir(), "coinop-gpu-"+task+".json")
}

// equip says how the task finds what it got: variables, device nodes, and these with the driver's files as a CDI device of its own.
func (p *Provider) equip(r *record) error {
	var visible []string
	nodes := []string{"/dev/nvidiactl", "/dev/nvidia-uvm"}
	if _, err := os.Stat(filepath.Join(p.config.Root, "/dev/nvidia-uvm-tools")); err == nil { // not everywhere, and only for profilers
		nodes = append(nodes, "/dev/nvidia-uvm-tools")
	}
	for i, granted := range r.Grant.Devices {
		visible = append(visible, granted.Visible)
		c := p.card(granted.Device)
		nodes = append(nodes, "/dev/nvidia"+strconv.Itoa(c.Minor))
		if part := r.Parts[i]; part.Sliced {
			capabilities, err := p.capabilities(c.Minor, part.Instance)
			if err != nil {
				return err
			}
			nodes = append(nodes, capabilities...)
		}
	}
	slices.Sort(nodes)
	r.Grant.Task, r.Grant.Kind = r.Request.Task, r.Request.Kind
	r.Grant.Env = []string{"CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=" + strings.Join(visible, ",")}
	r.Grant.CDI = []string{cdiKind + "=" + r.Request.Task}
	r.Grant.Nodes = nil
	edits := cdi.Edits{Env: r.Grant.Env, Mounts: p.driverFiles()}
	for _, node := range nodes {
		host := filepath.Join(p.config.Root, node)
		r.Grant.Nodes = append(r.Grant.Nodes, host)
		entry := cdi.Node{Path: node}
		if host != node {
			entry.HostPath = host
		}
		edits.Nodes = append(edits.Nodes, entry)
	}
	data, err := json.Marshal(cdi.Spec{Version: cdi.Version, Kind: cdiKind, Devices: []cdi.Device{{Name: r.Request.Task, Edits: edits}}})
	if err != nil {
		return fmt.Errorf("write the CDI spec: %w", err)
	}
	return replace(p.cdiFile(r.Request.Task), data)
}

func (p *Provider) unequip(r *record) error {
	if err := os.Remove(p.cdiFile(r.Request.Task)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the CDI spec: %w", err)
	}
	return nil
}

// capabilities are the device nodes by which the kernel lets a process at one MIG instance and its compute instance.
func (p *Provider) capabilities(gpuMinor, instance int) ([]string, error) {
	path := filepath.Join(p.config.Root, "proc/driver/nvidia-caps/mig-minors")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("find the slice's device nodes: %w; the nvidia module must be loaded with nvidia-caps", err)
	}
	var nodes []string
	for _, access := range []string{fmt.Sprintf("gpu%d/gi%d/access", gpuMinor, instance), fmt.Sprintf("gpu%d/gi%d/ci0/access", gpuMinor, instance)} {
		found := false
		for line := range strings.Lines(string(data)) {
			if name, minor, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == access {
				nodes = append(nodes, "/dev/nvidia-caps/nvidia-cap"+minor)
				found = true
			}
		}
		if !found {
			return nil, fmt.Errorf("find the slice's device nodes: %s has no %s", path, access)
		}
	}
	return nodes, nil
}

// sweepCDI removes specs of tasks that have no record.
func (p *Provider) sweepCDI() {
	entries, err := os.ReadDir(p.cdiDir())
	if err != nil {
		return
	}
	for _, entry := range entries {
		task := strings.TrimSuffix(strings.TrimPrefix(entry.Name(), "coinop-gpu-"), ".json")
		if _, ok := p.records[task]; !ok {
			_ = os.Remove(filepath.Join(p.cdiDir(), entry.Name()))
		}
	}
}
