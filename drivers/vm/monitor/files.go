package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/vm/guest"
)

// Channels that are always the same.
const (
	mainChannel = iota + 1
	filesIn
	filesOut
)

// entriesMax is what a work folder may hold, each of them a name in our memory if it is a folder.
const entriesMax = 1 << 20

// fill sends what is in the work folder, which is this process's. What the task's user may not read is not for the task.
func (l *line) fill(ctx context.Context) error {
	c, err := l.open(filesIn)
	if err != nil {
		return err
	}
	defer c.close()
	root, err := os.OpenRoot(".")
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrPermission):
			return fs.SkipDir
		case err != nil:
			return err
		case path == ".":
			return nil
		}
		return c.give(ctx, root, path, d)
	})
	if err == nil {
		err = c.send(ctx, guest.AskEnd, nil)
	}
	if err != nil {
		return fmt.Errorf("bring the work folder into the machine: %w", err)
	}
	return c.finish(ctx)
}

func (c *channel) give(ctx context.Context, root *os.Root, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	e := guest.Entry{Path: path, Mode: uint32(info.Mode().Perm()), Bytes: info.Size()}
	switch {
	case d.IsDir():
		e.Type = guest.Folder
	case info.Mode().IsRegular():
		e.Type = guest.Plain
	case info.Mode()&fs.ModeSymlink != 0:
		e.Type = guest.Link
		if e.Says, err = root.Readlink(path); err != nil {
			return err
		}
	default:
		return nil
	}
	if e.Type != guest.Plain {
		return c.send(ctx, guest.AskEntry, e.Encode())
	}
	file, err := root.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if err := c.send(ctx, guest.AskEntry, e.Encode()); err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := file.Read(buffer)
		if n > 0 {
			if err := c.send(ctx, guest.AskData, buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// finish waits for the machine's word on what it did.
func (c *channel) finish(ctx context.Context) error {
	for {
		select {
		case f := <-c.frames:
			if f.Kind != guest.TellExit {
				continue
			}
			a, err := shim.ReadAnswer(bytes.NewReader(f.Data))
			if err != nil {
				return errNonsense
			}
			if a.Errno != 0 {
				return fmt.Errorf("%s: %w", printable(a.Step), a.Errno)
			}
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// unpacker puts what a machine gives into the work folder, and nowhere else.
type unpacker struct {
	root    *os.Root
	file    *os.File
	folders []guest.Entry // their modes are set last: some may not be written to
	entries int
	left    int64 // bytes that may still come
	limited bool
}

// collect takes the work folder out of the machine.
func (l *line) collect(ctx context.Context, limit int64) (err error) {
	c, err := l.open(filesOut)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.send(ctx, guest.AskGive, nil); err != nil {
		return err
	}
	u := &unpacker{left: limit, limited: limit > 0}
	if u.root, err = os.OpenRoot("."); errors.Is(err, fs.ErrPermission) {
		return nil
	} else if err != nil {
		return err
	}
	defer u.root.Close()
	defer u.closeFile()
	for {
		select {
		case f := <-c.frames:
			if f.Kind == guest.TellExit {
				return u.finish()
			}
			if err := u.take(f); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (u *unpacker) closeFile() {
	if u.file != nil {
		u.file.Close()
		u.file = nil
	}
}

func (u *unpacker) take(f guest.Frame) error {
	switch f.Kind {
	case guest.TellOut:
		if u.file == nil {
			return nil // of an entry that was left out
		}
		if u.left -= int64(len(f.Data)); u.limited && u.left < 0 {
			return errors.New("the disk limit struck: its work folder is larger than it may be")
		}
		_, err := u.file.Write(f.Data)
		return err
	case guest.TellEntry:
		u.closeFile()
		if u.entries++; u.entries > entriesMax {
			return fmt.Errorf("its work folder holds more than %d entries", entriesMax)
		}
		if u.left -= guest.FrameCost; u.limited && u.left < 0 {
			return errors.New("the disk limit struck: its work folder is larger than it may be")
		}
		e, err := guest.DecodeEntry(f.Data)
		if err != nil {
			return fmt.Errorf("%w: %w", errNonsense, err)
		}
		return u.entry(e)
	}
	return errNonsense
}

func (u *unpacker) entry(e guest.Entry) error {
	there, err := u.root.Lstat(e.Path)
	if err == nil && e.Type == guest.Folder && there.IsDir() {
		return nil
	}
	if err == nil {
		err = u.root.RemoveAll(e.Path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch e.Type {
	case guest.Folder:
		u.folders = append(u.folders, e)
		return u.root.Mkdir(e.Path, 0o700)
	case guest.Link:
		return u.root.Symlink(e.Says, e.Path)
	}
	u.file, err = u.root.OpenFile(e.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return u.file.Chmod(fs.FileMode(e.Mode))
}

func (u *unpacker) finish() error {
	for _, e := range slices.Backward(u.folders) {
		if err := u.root.Chmod(filepath.Clean(e.Path), fs.FileMode(e.Mode)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
