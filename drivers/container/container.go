// Package container runs a task in a container made from an image, by an OCI runtime and without a daemon.
package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/tasks"
)

// WorkDir is where a task finds its work folder.
const WorkDir = "/work"

// NoticeDir is where a task finds what it is told while it runs.
const NoticeDir = "/run/coinop"

// Image is an image that is present and unpacked.
type Image struct {
	Layers     []string // folders, the lowest first
	Entrypoint []string
	Cmd        []string
	WorkingDir string // where its command starts; "": it does not say
	Env        []string
	User       string // name or number, with a group after a colon; "": root
}

// Images keeps images on this machine.
type Images interface {
	// Hold makes an image present and keeps it so until Drop of that task. It may be repeated.
	Hold(ctx context.Context, ref, task string) (Image, error)
	// Drop says that a task needs no image any more. That it never had one is fine.
	Drop(task string) error
}

// Config says where a driver keeps what it knows.
type Config struct {
	Dir          string       // absolute; the driver's own, 0700
	Images       Images       // what tasks run in
	Runtime      string       // the only runtime to be considered; "": each that there is, the best first
	CgroupParent string       // below each hierarchy's mount; "" is its root
	NoUnified    bool         // leave version 2 of control groups alone
	Log          *slog.Logger // nil: none
}

// Driver implements drivers.Driver. Run must be running for statuses to change.
type Driver struct {
	*tasks.Set
	images  Images
	runtime runtime
	note    string // why it is not the best one; "": it is
	useless string // why there is none; "": there is one
}

// New takes the folder, finds out what this machine allows and which tasks there are already. Run gives the folder back.
// Where no runtime works, Describe says why, and only tasks that are there already are served.
func New(config Config) (*Driver, error) {
	d := &Driver{images: config.Images}
	set, err := tasks.New(tasks.Config{
		Kind: d, Dir: config.Dir, CgroupParent: config.CgroupParent, NoUnified: config.NoUnified, Log: config.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("container driver: %w", err)
	}
	d.Set = set
	d.choose(config.Runtime)
	return d, nil
}

// Installed says whether a runtime is there to be tried, and else what to do. It costs nothing.
func Installed() error {
	for _, name := range known() {
		if _, err := exec.LookPath(name); err == nil {
			return nil
		}
	}
	return fmt.Errorf("none of %s is installed: apt-get install --no-install-recommends %s", strings.Join(known(), ", "), known()[0])
}

// Describe implements drivers.Driver.
func (d *Driver) Describe(context.Context) (drivers.Description, error) {
	if d.useless != "" {
		return drivers.Description{}, fmt.Errorf("%w: no container can be run on this machine: %s", drivers.ErrUnsupported, d.useless)
	}
	return drivers.Description{
		Name: "container", ProtocolVersion: drivers.ProtocolVersion, Isolation: drivers.IsolationContainer,
		Pause: true, Exec: true, Connect: true, Network: true, Devices: []string{drivers.DevicesCDI}, Images: true, Share: tasks.CanShare(), WorkDir: WorkDir, NoticeDir: NoticeDir, Note: d.note, Limits: d.Limits(""),
	}, nil
}

// Check implements tasks.Kind.
func (d *Driver) Check(t drivers.Task) error {
	switch {
	case d.useless != "":
		return fmt.Errorf("no container can be run on this machine: %s", d.useless)
	case t.Image == "":
		return errors.New("a container needs an image")
	case t.UID == 0 || t.GID == 0:
		return errors.New("nobody in a container is this machine's root, AllowRoot or not; another user must be named")
	case t.UID >= idBase && t.UID < idBase+ids || t.GID >= idBase && t.GID < idBase+ids:
		return fmt.Errorf("users %d to %d of this machine are those of images", idBase, idBase+ids-1)
	}
	return nil
}

// Prepare implements tasks.Kind.
func (d *Driver) Prepare(ctx context.Context, t drivers.Task, spec *shim.Spec) error {
	image, err := d.images.Hold(ctx, t.Image, t.ID)
	if err != nil {
		return err
	}
	devices, err := devicesOf(t)
	if err != nil {
		return fmt.Errorf("give devices: %w", err)
	}
	command(t, image, spec)
	spec.Env = environment(spec.Env, devices.Env)
	if len(spec.Argv) == 0 {
		return fmt.Errorf("%w: neither the task nor its image says what to run", drivers.ErrInvalid)
	}
	spec.SetUser, spec.WorkDir = false, image.Start(t.StartDir)
	if t.Share != "" { // which the shim looks for as the task's user
		spec.SetUser, spec.WorkDir = true, t.Chdir
	}
	box, err := d.runtime.makeBox(t, image, devices, d.runtime.cgroupsPath(d, t.ID, spec))
	if err != nil {
		return fmt.Errorf("make container: %w", err)
	}
	if err := writeSettings(box.Dir, spec); err != nil {
		return fmt.Errorf("make container: %w", err)
	}
	box.Program, box.Runtime = d.Shim(), d.runtime.run(box.Dir)
	spec.Box = box
	return nil
}

// Discard implements tasks.Kind.
func (d *Driver) Discard(id, dir string) error {
	if dir != "" {
		if err := os.RemoveAll(boxDir(dir)); err != nil {
			return fmt.Errorf("remove container: %w", err)
		}
	}
	return d.images.Drop(id)
}

// Folders implements tasks.Kind.
func (d *Driver) Folders(dir, workDir string) []string {
	return []string{workDir, filepath.Join(boxDir(dir), "own", "upper")}
}

// Explain implements tasks.Kind.
func (d *Driver) Explain(dir, message string) string { return explain(boxDir(dir), message) }
