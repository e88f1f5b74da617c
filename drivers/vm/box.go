package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/vm/initrd"
	"github.com/coinop/coinop/drivers/vm/kernel"
	"github.com/coinop/coinop/drivers/vm/monitor"
)

const (
	monitorFile = "monitor"

	memoryMiB   = 1024 // of a machine for a task without a limit
	reserveMiB  = 96   // of a machine's memory for its kernel
	overheadMiB = 256  // of QEMU and the monitor
	threadsMax  = 256  // of both
)

// boxDir holds all that a machine needs and leaves, beside the task's logs. It is the task's user's.
func boxDir(taskDir string) string { return filepath.Join(taskDir, "box") }

// ownDir holds what the driver keeps for itself, out of that user's reach: the order, and what the machine's disk stands on.
func ownDir(taskDir string) string { return filepath.Join(taskDir, "own") }

// order is what the monitor is told.
func (d *Driver) order(t drivers.Task, image image) (monitor.Order, error) {
	o := monitor.Order{
		QEMU: d.qemu, Accel: d.accel, Firmware: d.firmware, CPUs: min(cpusOf(t), runtime.NumCPU()), Memory: memoryOf(t), Format: image.Format, Partition: image.Partition, Kind: image.Kind, Network: t.Network,
		Host: hostName(t.ID), TaskBytes: t.MemoryBytes, DiskBytes: t.DiskBytes, PidsMax: t.PidsMax, FilesMax: t.FilesMax, ShmBytes: t.ShmBytes,
		ReadOnly: t.ReadOnlyRoot, WorkDir: image.Start(t.StartDir), NoticeDir: t.NoticeDir,
	}
	if o.ShmBytes == 0 {
		o.ShmBytes = drivers.ShmBytesDefault
	}
	var err error
	if o.UID, o.GID, err = image.Who(); err != nil {
		return o, err
	}
	argv, env := image.Command(t.Entrypoint, t.Argv, t.Env)
	if t.Hold {
		argv = nil
	} else if len(argv) == 0 {
		return o, fmt.Errorf("%w: neither the task nor its image says what to run", drivers.ErrInvalid)
	}
	o.Argv, o.Env = bytesOf(argv), bytesOf(env)
	return o, nil
}

func cpusOf(t drivers.Task) int { return max(1, int((t.CPUMilli+999)/1000)) }

// memoryOf is the memory of a task's machine, in MiB.
func memoryOf(t drivers.Task) int64 {
	if t.MemoryBytes > 0 {
		return (t.MemoryBytes+1<<20-1)>>20 + reserveMiB
	}
	return memoryMiB
}

func bytesOf(texts []string) [][]byte {
	out := make([][]byte, len(texts))
	for i, text := range texts {
		out[i] = []byte(text)
	}
	return out
}

// hostName is a task's id as a host's name may be.
func hostName(id string) string {
	name := strings.Map(func(r rune) rune {
		if r == '.' || r == '_' {
			return '-'
		}
		return r
	}, id)
	return strings.Trim(name[:min(len(name), 63)], "-")
}

// makeBox makes a machine's folders; fill puts its disks into them.
func (d *Driver) makeBox(t drivers.Task, order monitor.Order, fill func(box, own string) error) error {
	box, own := boxDir(t.Dir), ownDir(t.Dir)
	if err := errors.Join(os.RemoveAll(box), os.RemoveAll(own)); err != nil { // of a start that was cut short
		return err
	}
	if err := os.MkdirAll(t.Dir, 0o711); err != nil {
		return err
	}
	if err := os.Chmod(t.Dir, 0o711); err != nil { // its user passes through, and may list nothing
		return err
	}
	uid, gid := os.Getuid(), os.Getgid()
	if t.UID != 0 {
		uid, gid = int(t.UID), int(t.GID)
	}
	disk := filepath.Join(box, monitor.Disk)
	err := errors.Join(os.Mkdir(own, 0o700), os.Mkdir(box, 0o700), os.Mkdir(disk, 0o700),
		put(filepath.Join(d.config.Dir, monitorFile), filepath.Join(box, monitorFile)),
		put(filepath.Join(d.config.Dir, monitor.Kernel), filepath.Join(box, monitor.Kernel)),
		put(filepath.Join(d.config.Dir, initrdName(t.Network)), filepath.Join(box, monitor.Initrd)))
	if err == nil {
		err = fill(box, own)
	}
	if err == nil {
		err = errors.Join(monitor.WriteOrder(box, order, uid, gid), monitor.WriteOrder(own, order, os.Getuid(), os.Getgid()))
	}
	if err != nil {
		return err
	}
	theirs := []string{monitor.Overlay(box), disk, box}
	if order.GoesOn != nil {
		theirs = append([]string{monitor.State(box)}, theirs...)
	}
	for _, path := range theirs { // the box last: until then nobody else reaches what is in it
		if err := os.Chown(path, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// fill gives a machine an image to stand on, and to write to what is its own.
func (i image) fill(box, own string) error {
	for _, dir := range []string{own, box} {
		base := filepath.Join(dir, monitor.Base)
		if i.link {
			if err := os.Symlink(i.path, base); err != nil {
				return err
			}
		} else if err := put(i.path, base); err != nil {
			return err
		}
	}
	return os.WriteFile(monitor.Overlay(box), emptyOverlay(i.Bytes), 0o600)
}

func initrdName(network bool) string {
	if network {
		return monitor.Initrd + "-network"
	}
	return monitor.Initrd
}

// copies makes the driver's own of what all machines have: their users could not get at the originals. Running ones keep what
// they have.
func (d *Driver) copies() error {
	if err := d.copyKernel(); err != nil {
		return fmt.Errorf("take the kernel: %w", err)
	}
	if err := install(d.config.Program[0], filepath.Join(d.config.Dir, monitorFile), 0o555); err != nil {
		return fmt.Errorf("take the monitor: %w", err)
	}
	for _, network := range []bool{false, true} {
		data, err := initrd.Make(d.config.Kernel, d.Shim(), network)
		if err != nil {
			return err
		}
		if err := replace(filepath.Join(d.config.Dir, initrdName(network)), 0o444, func(to *os.File) error {
			_, err := to.Write(data)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// copyKernel takes the kernel's program out of its file if QEMU can start that by itself, and else the file.
func (d *Driver) copyKernel() error {
	to := filepath.Join(d.config.Dir, monitor.Kernel)
	if d.unpackKernel(to) == nil {
		d.firmware = firmware
		return nil
	}
	// What is packed in another way, or has no such entry, starts as it is, and takes longer.
	return install(d.config.Kernel, to, 0o444)
}

func (d *Driver) unpackKernel(to string) error {
	if _, err := findFirmware(d.qemu); err != nil {
		return err
	}
	from, err := os.Open(d.config.Kernel)
	if err != nil {
		return err
	}
	defer from.Close()
	return replace(to, 0o444, func(file *os.File) error {
		if err := kernel.Unpack(file, from); err != nil {
			return err
		}
		return kernel.Entered(file.Name())
	})
}

// install copies a file unless that copy is there already.
func install(from, to string, mode os.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if have, err := os.Stat(to); err == nil && have.Size() == info.Size() && have.ModTime().Equal(info.ModTime()) {
		return nil
	}
	return replace(to, mode, func(file *os.File) error {
		if _, err := io.Copy(file, source); err != nil {
			return err
		}
		return os.Chtimes(file.Name(), info.ModTime(), info.ModTime())
	})
}

// replace makes a file anew; whoever has the old one keeps that.
func replace(path string, mode os.FileMode, fill func(*os.File) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // not there any more if all went well
	err = fill(file)
	err = errors.Join(err, file.Chmod(mode), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// put gives a box a file of the driver's: the same one if they are on one file system.
func put(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return install(from, to, info.Mode().Perm())
}

func checkKernel(path string) error {
	const how = "apt-get install --no-install-recommends linux-image-cloud-amd64 brings one, and the executor is told of it by --vm-kernel /boot/vmlinuz-VERSION"
	if path == "" {
		return errors.New("no kernel for virtual machines is named: " + how)
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("the kernel for virtual machines cannot be read: %w; %s", err, how)
	}
	defer file.Close()
	if err := kernel.Check(file); err != nil {
		return fmt.Errorf("%s: %w; %s", path, err, how)
	}
	_, err = initrd.Modules(path)
	return err
}
