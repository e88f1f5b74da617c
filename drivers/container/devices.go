package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/cdi"
)

// devicesOf are the devices that a task gets, by the specs that it names.
func devicesOf(t drivers.Task) (cdi.Edits, error) {
	found, err := cdi.Find(t.DeviceSpecs, t.Devices)
	if err != nil {
		return found, err
	}
	for _, n := range found.Nodes {
		info, err := os.Stat(n.HostPath)
		if errors.Is(err, fs.ErrNotExist) {
			return found, fmt.Errorf("device node %s is not there", n.HostPath)
		}
		if err != nil {
			return found, err
		}
		if info.Mode()&fs.ModeDevice == 0 {
			return found, fmt.Errorf("%s is no device node", n.HostPath)
		}
	}
	return found, nil
}

// deviceMounts shows the machine's nodes in the container. In a user namespace none can be made, and all mounts but the machine's own
// /dev forbid opening one: so a container can open those that are bound here, and no others.
func deviceMounts(devices cdi.Edits) []specs.Mount {
	var all []specs.Mount
	for _, n := range devices.Nodes {
		all = append(all, specs.Mount{Destination: n.Path, Type: "bind", Source: n.HostPath, Options: []string{"bind"}})
	}
	for _, m := range devices.Mounts {
		all = append(all, specs.Mount{Destination: m.ContainerPath, Type: "bind", Source: m.HostPath, Options: append([]string{"rbind"}, m.Options...)})
	}
	return all
}
