// Package process runs a task as a plain process of this machine, confined by its user and its control groups.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/tasks"
)

// Config says where a driver keeps what it knows.
type Config struct {
	Dir          string       // absolute; the driver's own, 0700
	CgroupParent string       // below each hierarchy's mount; "" is its root
	NoCgroups    bool         // leave control groups alone
	NoUnified    bool         // leave version 2 of them alone
	Log          *slog.Logger // nil: none
}

// Driver implements drivers.Driver. Run must be running for statuses to change.
type Driver struct {
	*tasks.Set
	exposed string // why tasks of one user cannot be kept from each other; "": they are
}

// New takes the folder, finds out what this machine allows and which tasks there are already. Run gives the folder back.
func New(config Config) (*Driver, error) {
	d := &Driver{}
	set, err := tasks.New(tasks.Config{
		Kind: d, Dir: config.Dir, CgroupParent: config.CgroupParent, NoCgroups: config.NoCgroups, NoUnified: config.NoUnified, Log: config.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("process driver: %w", err)
	}
	d.Set = set
	d.exposed = d.probe(config.Dir)
	return d, nil
}

// Describe implements drivers.Driver.
func (d *Driver) Describe(context.Context) (drivers.Description, error) {
	return drivers.Description{
		Name: "process", ProtocolVersion: drivers.ProtocolVersion, Isolation: drivers.IsolationProcess, Pause: true, Exec: true, Connect: true, Share: tasks.CanShare(),
		Limits: d.Limits(d.exposed),
	}, nil
}

// Check implements tasks.Kind.
func (d *Driver) Check(t drivers.Task) error {
	switch {
	case len(t.Argv) == 0 && !t.Hold:
		return errors.New("there is no command")
	case len(t.Devices) > 0:
		return errors.New("a process task has no devices of its own")
	case t.Image != "" || t.StartDir != "" || len(t.Entrypoint) > 0 || t.ReadOnlyRoot || t.ShmBytes != 0:
		return errors.New("a process task runs the machine's own programs, not those of an image")
	}
	return nil
}

// Prepare implements tasks.Kind: as root a task is kept from its neighbours.
func (d *Driver) Prepare(_ context.Context, t drivers.Task, spec *shim.Spec) error {
	spec.Private = os.Geteuid() == 0 && t.UID != 0 && d.exposed == ""
	if spec.Hold = t.Hold; t.Hold {
		spec.Argv = shim.HoldArgv()
	}
	return nil
}

// Discard implements tasks.Kind.
func (d *Driver) Discard(string, string) error { return nil }

// Folders implements tasks.Kind.
func (d *Driver) Folders(_, workDir string) []string { return []string{workDir} }

// Explain implements tasks.Kind.
func (d *Driver) Explain(_, message string) string { return message }
