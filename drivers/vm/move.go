package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/vm/disk"
	"github.com/coinop/coinop/drivers/vm/export"
	"github.com/coinop/coinop/drivers/vm/monitor"
)

// moving is the head of what is exported. After it come QEMU's state, what the machine changed on its disk, and the disk itself.
type moving struct {
	Order   monitor.Order // without what is another machine's own
	Written monitor.Written
}

// export writes down a suspended task. What its user could have put into the box is believed as little as ever.
func (d *Driver) export(ctx context.Context, id, path string) (err error) {
	s, dir, err := d.Status(id)
	switch {
	case err != nil:
		return err
	case s.State.Final():
		return drivers.ErrEnded
	case s.State != drivers.StateSuspended:
		return fmt.Errorf("%w: it is %s, and not suspended", drivers.ErrInvalid, s.State)
	case !filepath.IsAbs(path):
		return fmt.Errorf("%w: file %q must be absolute", drivers.ErrInvalid, path)
	}
	box := boxDir(dir)
	note, written, err := monitor.OpenWritten(box)
	if err != nil {
		return err
	}
	defer note.Close()
	order, err := monitor.ReadOrder(ownDir(dir))
	if err != nil {
		return err
	}
	state, err := monitor.OpenPlain(monitor.State(box))
	if err != nil {
		return err
	}
	defer state.Close()
	changes, err := monitor.OpenPlain(monitor.Overlay(box))
	if err != nil {
		return err
	}
	defer changes.Close()
	base, err := os.Open(filepath.Join(ownDir(dir), monitor.Base))
	if err != nil {
		return err
	}
	defer base.Close()
	order.QEMU, order.Firmware, order.NoticeDir, order.GoesOn = "", "", "", nil
	head, err := json.Marshal(moving{order, written})
	if err != nil {
		return err
	}
	if err := d.pack(ctx, path, head, state, changes, base); err != nil {
		return err
	}
	// Nobody keeps it from going on meanwhile, and then what was read is of two moments.
	if s, _, err := d.Status(id); err != nil || s.State != drivers.StateSuspended || !same(note, box) {
		return errors.Join(fmt.Errorf("%w: it was resumed while it was written down", drivers.ErrInvalid), err)
	}
	return nil
}

// same says whether a box's machine is still suspended as it was: what is written anew is another file.
func same(note *os.File, box string) bool {
	now, _, err := monitor.OpenWritten(box)
	if err != nil {
		return false
	}
	defer now.Close()
	a, err := note.Stat()
	b, errNow := now.Stat()
	return err == nil && errNow == nil && os.SameFile(a, b)
}

func (d *Driver) pack(ctx context.Context, path string, head []byte, files ...*os.File) error {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer to.Close()
	return errors.Join(export.Write(until{ctx, nil, to}, head, files...), to.Close())
}

// until reads and writes as long as it is wanted.
type until struct {
	ctx  context.Context
	from io.Reader
	to   io.Writer
}

func (u until) Read(p []byte) (int, error) {
	if err := context.Cause(u.ctx); err != nil {
		return 0, err
	}
	return u.from.Read(p)
}

func (u until) Write(p []byte) (int, error) {
	if err := context.Cause(u.ctx); err != nil {
		return 0, err
	}
	return u.to.Write(p)
}

// takeIn makes the box of a machine that goes on here.
func (d *Driver) takeIn(ctx context.Context, t drivers.Task) (order monitor.Order, err error) {
	file, err := monitor.OpenPlain(t.From)
	if err != nil {
		return order, fmt.Errorf("%w: %w", drivers.ErrInvalid, err)
	}
	defer file.Close()
	r, err := export.NewReader(until{ctx, file, nil})
	if err != nil {
		return order, invalid(err)
	}
	defer r.Drop()
	var m moving
	decoder := json.NewDecoder(bytes.NewReader(r.Head))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return order, fmt.Errorf("%w: its head: %w", drivers.ErrInvalid, err)
	}
	if order, err = d.goesOn(t, m); err != nil {
		return order, fmt.Errorf("%w: %w", drivers.ErrInvalid, err)
	}
	err = d.makeBox(t, order, func(box, own string) error {
		base := filepath.Join(own, monitor.Base)
		err := d.unpack(r, t, order, box, base)
		if err == nil {
			err = invalid(r.Close())
		}
		if err == nil {
			err = invalid(judge(order.Format, monitor.Overlay(box), base))
		}
		return errors.Join(err, os.Link(base, filepath.Join(box, monitor.Base)))
	})
	return order, err
}

// invalid is of what can never be taken in, which a disk that is full is not.
func invalid(err error) error {
	if err == nil || errors.Is(err, unix.ENOSPC) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", drivers.ErrInvalid, err)
}

// goesOn is the order for a machine from elsewhere: what it is made of is as it was, what it may take as its task says.
func (d *Driver) goesOn(t drivers.Task, m moving) (monitor.Order, error) {
	here := m.Order
	here.QEMU, here.Accel, here.Firmware, here.NoticeDir = d.qemu, d.accel, d.firmware, t.NoticeDir
	here.Memory, here.TaskBytes, here.DiskBytes = memoryOf(t), t.MemoryBytes, t.DiskBytes
	here.PidsMax, here.FilesMax, here.Network = t.PidsMax, t.FilesMax, t.Network
	here.GoesOn = &m.Written
	was := m.Order
	switch {
	case was.Memory != here.Memory || was.TaskBytes != here.TaskBytes:
		return here, fmt.Errorf("it has %d MiB of memory, and this task's machine would have %d", was.Memory, here.Memory)
	case was.CPUs < 1 || was.CPUs > cpusOf(t):
		return here, fmt.Errorf("it has %d processors, and this task is for %d", was.CPUs, cpusOf(t))
	case was.Network != here.Network:
		return here, errors.New("with the network or without, it must stay as it was")
	case was.Accel != here.Accel || !slices.Contains([]string{"raw", "qcow2"}, was.Format) || was.GoesOn != nil:
		return here, errors.New("it is no machine of this kind")
	}
	return here, m.Written.Check()
}

const (
	stateMiB = 64       // of QEMU's state beside memory
	slack    = 64 << 20 // of what a disk is measured with once a second
)

// unpack writes a machine's files, and no more of each than it could have had.
func (d *Driver) unpack(r *export.Reader, t drivers.Task, order monitor.Order, box, base string) error {
	changes, disks := int64(0), d.config.DiskBytes
	if t.DiskBytes > 0 {
		changes = t.DiskBytes + slack
	}
	for _, one := range []struct {
		path string
		mode os.FileMode
		most int64 // 0: as much as there is room for
	}{
		{monitor.State(box), 0o600, (order.Memory + order.Memory/64 + stateMiB) << 20}, {monitor.Overlay(box), 0o600, changes}, {base, 0o444, disks},
	} {
		if err := fill(r, one.path, one.mode, one.most); err != nil {
			return err
		}
	}
	return nil
}

func fill(r *export.Reader, path string, mode os.FileMode, most int64) error {
	var there unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &there); err != nil {
		return err
	}
	room := int64(there.Bavail) / 10 * 9 * there.Bsize // nobody else is to find it full
	full := most == 0 || room < most
	if full {
		most = room
	}
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer to.Close()
	err = r.File(to, most)
	var large *export.TooLarge
	switch {
	case errors.As(err, &large) && full:
		err = fmt.Errorf("%s: %w: %w", filepath.Base(path), unix.ENOSPC, err)
	case err != nil:
		err = invalid(fmt.Errorf("%s: %w", filepath.Base(path), err))
	}
	return errors.Join(err, to.Close())
}

// judge looks at disks from elsewhere as at those that users bring: none may name another file.
func judge(format, overlay, base string) error {
	for _, path := range []string{overlay, base} {
		if path == base && format == "raw" {
			continue
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		err = disk.Alone(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	return nil
}
