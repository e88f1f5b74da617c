// Package cdi is what a Container Device Interface spec says: which nodes, variables and files of the machine a named device is.
package cdi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Version is the one of the specs written here: the first with hostPath.
const Version = "0.5.0"

// Spec is a file of devices, as far as GPUs need it. One that says more is refused, since to leave out a part could be to give too much.
type Spec struct {
	Version string   `json:"cdiVersion"`
	Kind    string   `json:"kind"` // VENDOR/CLASS
	Devices []Device `json:"devices"`
}

// Device is one that a container can get by its name, KIND=NAME.
type Device struct {
	Name  string `json:"name"`
	Edits Edits  `json:"containerEdits"`
}

// Edits are what a container with a device has besides.
type Edits struct {
	Env    []string `json:"env"`
	Nodes  []Node   `json:"deviceNodes"`
	Mounts []Mount  `json:"mounts,omitempty"`
}

// Node is a device node.
type Node struct {
	Path     string `json:"path"`               // in the container
	HostPath string `json:"hostPath,omitempty"` // "": the same
}

// Mount is a file or folder of the machine.
type Mount struct {
	HostPath      string   `json:"hostPath"`
	ContainerPath string   `json:"containerPath"`
	Options       []string `json:"options"`
}

// specBytesMax bounds what is read of one spec.
const specBytesMax = 1 << 20

// ErrUnknown: no spec has the device.
var ErrUnknown = errors.New("no such device")

// Find returns what the devices of these names are, by the specs in a folder.
func Find(dir string, names []string) (all Edits, err error) {
	if len(names) == 0 {
		return all, nil
	}
	specs, err := read(dir)
	if err != nil {
		return all, err
	}
	for _, name := range names {
		found, err := lookUp(specs, name)
		if err != nil {
			return all, fmt.Errorf("look for device %q in %s: %w", name, dir, err)
		}
		all.Env = append(all.Env, found.Env...)
		all.Nodes = append(all.Nodes, found.Nodes...)
		all.Mounts = append(all.Mounts, found.Mounts...)
	}
	return all, nil
}

// read reads the specs of a folder. A bad one makes no other unreadable, and is named where its device is missed.
func read(dir string) (map[string][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("read device specs: %q is not the absolute path of a folder", dir)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || info.Size() > specBytesMax {
			continue // gone with its task, or no spec
		}
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		files[path] = data
	}
	return files, nil
}

func lookUp(files map[string][]byte, name string) (Edits, error) {
	kind, device, ok := strings.Cut(name, "=")
	if !ok || !strings.Contains(kind, "/") || device == "" {
		return Edits{}, errors.New("it is not written VENDOR/CLASS=NAME")
	}
	var bad error
	for path, data := range files {
		if !bytes.Contains(data, []byte(device)) { // most are other tasks'
			continue
		}
		spec, err := parse(data)
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s: %w", path, err))
			continue
		}
		for _, d := range spec.Devices {
			if spec.Kind == kind && d.Name == device {
				return d.Edits, d.Edits.check()
			}
		}
	}
	if bad != nil {
		return Edits{}, bad
	}
	return Edits{}, ErrUnknown
}

func parse(data []byte) (spec Spec, err error) {
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&spec); err != nil {
		return spec, fmt.Errorf("it says what is not understood here: %w", err)
	}
	return spec, nil
}

// check refuses what would not be one clear thing in one clear place.
func (e Edits) check() error {
	plain := func(path string) bool { return filepath.IsAbs(path) && filepath.Clean(path) == path }
	for i, n := range e.Nodes {
		if n.HostPath == "" {
			e.Nodes[i].HostPath = n.Path
		}
		if !plain(n.Path) || !strings.HasPrefix(n.Path, "/dev/") || !plain(e.Nodes[i].HostPath) {
			return fmt.Errorf("its node %q is not one below /dev", n.Path)
		}
	}
	for _, m := range e.Mounts {
		if !plain(m.ContainerPath) || !plain(m.HostPath) || m.ContainerPath == "/" {
			return fmt.Errorf("its mount of %q at %q is not of one absolute path at another", m.HostPath, m.ContainerPath)
		}
	}
	for _, entry := range e.Env {
		if name, _, ok := strings.Cut(entry, "="); !ok || name == "" || strings.IndexByte(entry, 0) >= 0 {
			return fmt.Errorf("its variable %q is not NAME=VALUE", entry)
		}
	}
	return nil
}
