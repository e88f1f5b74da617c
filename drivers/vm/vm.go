// Package vm runs a task in a virtual machine of its own, by QEMU.
package vm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/tasks"
	"github.com/coinop/coinop/drivers/vm/monitor"
)

// WorkDir is where a task finds its work folder.
const WorkDir = "/work"

// QEMU is the program that runs machines.
const QEMU = "qemu-system-x86_64"

// Config says where a driver keeps what it knows, and what its machines are made of.
type Config struct {
	Dir          string           // absolute; the driver's own, 0700
	Kernel       string           // a file of a kernel, named as its package names it; its modules beside it or the machine's own
	QEMU         string           // another than the one that is found
	Images       container.Images // the images that containers have, too
	Local        bool             // also images that are files of this machine, raw or qcow2
	DiskBytes    int64            // what disks made of images may take; 0: no limit
	Program      []string         // how this program is started again as a machine's monitor; the first word is the program
	CgroupParent string           // below each hierarchy's mount; "" is its root
	NoUnified    bool             // leave version 2 of control groups alone
	Log          *slog.Logger     // nil: none
}

// Driver implements drivers.Driver. Run must be running for statuses to change.
type Driver struct {
	*tasks.Set
	config   Config
	disks    disks
	qemu     string
	version  string
	accel    string
	firmware string // another than QEMU's own; "": that
	note     string // why machines are not run by the processor itself; "": they are
	moves    string // all that a machine must find again to go on
	useless  string // why there are none; "": there are
}

// New takes the folder, finds out what this machine allows and which tasks there are already. Run gives the folder back. Where no
// machine can be run, Describe says why, and only tasks that are there already are served.
func New(config Config) (*Driver, error) {
	d := &Driver{config: config, disks: newDisks(filepath.Join(config.Dir, "disks"), config.DiskBytes)}
	set, err := tasks.New(tasks.Config{
		Kind: d, Dir: config.Dir, CgroupParent: config.CgroupParent, NoUnified: config.NoUnified, Moves: true, Log: config.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("vm driver: %w", err)
	}
	d.Set = set
	if err := d.prepare(); err != nil {
		d.useless = err.Error()
	}
	return d, nil
}

// Installed says whether QEMU and a kernel are there to be tried, and else what to do. It costs nothing.
func Installed(kernel string) error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("machines of %s are not known here, only those of amd64", runtime.GOARCH)
	}
	if _, err := exec.LookPath(QEMU); err != nil {
		return fmt.Errorf("%s is not installed: apt-get install --no-install-recommends qemu-system-x86", QEMU)
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return errors.New("mkfs.ext4 is not installed: apt-get install --no-install-recommends e2fsprogs")
	}
	return checkKernel(kernel)
}

// prepare makes what all machines have in common.
func (d *Driver) prepare() error {
	if d.qemu = d.config.QEMU; d.qemu == "" {
		d.qemu = QEMU
	}
	path, err := exec.LookPath(d.qemu)
	if err != nil {
		return fmt.Errorf("%s is not installed: apt-get install --no-install-recommends qemu-system-x86", d.qemu)
	}
	d.qemu = path
	if err := checkKernel(d.config.Kernel); err != nil {
		return err
	}
	key := d.key()
	if d.recall(key) {
		return nil
	}
	short, full, err := version(path)
	if err != nil {
		return err
	}
	d.version = short
	if err := d.copies(); err != nil {
		return err
	}
	d.accel, d.note = d.accelerate()
	if d.moves, err = d.same(full); err != nil {
		return err
	}
	return d.remember(key)
}

// Describe implements drivers.Driver.
func (d *Driver) Describe(context.Context) (drivers.Description, error) {
	if d.useless != "" {
		return drivers.Description{}, fmt.Errorf("%w: no virtual machine can be run here: %s", drivers.ErrUnsupported, d.useless)
	}
	return drivers.Description{
		Name: "vm", Version: d.version, ProtocolVersion: drivers.ProtocolVersion, Isolation: drivers.IsolationVM,
		Pause: true, Suspend: true, Moves: d.moves, Exec: true, Connect: true, Network: true, Images: true, WorkDir: WorkDir, NoticeDir: container.NoticeDir, Note: d.note, Limits: d.Limits(""),
	}, nil
}

// Texts of a command, as Linux bounds them for processes.
const (
	textMax  = 128 << 10
	textsMax = 2 << 20
)

// Check implements tasks.Kind.
func (d *Driver) Check(t drivers.Task) error {
	switch {
	case d.useless != "":
		return fmt.Errorf("no virtual machine can be run here: %s", d.useless)
	case t.Image == "":
		return errors.New("a virtual machine needs an image")
	case os.Geteuid() == 0 && (t.UID == 0 || t.GID == 0):
		return errors.New("QEMU is not run as root, AllowRoot or not; another user must be named")
	case t.Share != "":
		return errors.New("a virtual machine has no shared folders")
	case len(t.Devices) > 0:
		return fmt.Errorf("device %q is not known here", t.Devices[0])
	}
	all := 0
	for _, texts := range [][]string{t.Entrypoint, t.Argv, t.Env} {
		for _, text := range texts {
			all += len(text) + 9
			if len(text) >= textMax || all > textsMax {
				return errors.New("command and environment are too long")
			}
		}
	}
	return nil
}

// Prepare implements tasks.Kind.
func (d *Driver) Prepare(ctx context.Context, t drivers.Task, spec *shim.Spec) error {
	box := boxDir(t.Dir)
	order, err := d.machine(ctx, t)
	if err != nil {
		return err
	}
	spec.Argv = append(append([]string{filepath.Join(box, monitorFile)}, d.config.Program[1:]...), box)
	spec.Env = []string{} // nothing of what a task says is this machine's to believe
	spec.FilesMax, spec.FileBytes = 0, 0
	outside := t
	outside.PidsMax = 0
	if t.PidsMax > 0 {
		outside.PidsMax = threadsMax
	}
	if t.MemoryBytes > 0 {
		outside.MemoryBytes = (order.Memory + overheadMiB) << 20
	}
	spec.Cgroups = d.Plan(outside)
	return nil
}

// machine makes what a task's machine is made of.
func (d *Driver) machine(ctx context.Context, t drivers.Task) (monitor.Order, error) {
	if t.From != "" {
		order, err := d.takeIn(ctx, t)
		if err != nil {
			return order, fmt.Errorf("go on from what was exported: %w", err)
		}
		return order, nil
	}
	image, err := d.image(ctx, t)
	if err != nil {
		return monitor.Order{}, err
	}
	order, err := d.order(t, image)
	if err != nil {
		return order, err
	}
	if err := d.makeBox(t, order, image.fill); err != nil {
		return order, fmt.Errorf("make virtual machine: %w", err)
	}
	return order, nil
}

// Discard implements tasks.Kind.
func (d *Driver) Discard(id, dir string) error {
	if dir != "" {
		if err := errors.Join(os.RemoveAll(boxDir(dir)), os.RemoveAll(ownDir(dir))); err != nil {
			return fmt.Errorf("remove virtual machine: %w", err)
		}
	}
	return d.config.Images.Drop(id)
}

// Folders implements tasks.Kind: all that the machine wrote is in its disk, the work folder included until the end.
func (d *Driver) Folders(dir, _ string) []string {
	return []string{filepath.Join(boxDir(dir), monitor.Disk)}
}

// Explain implements tasks.Kind.
func (d *Driver) Explain(_, message string) string { return message }
