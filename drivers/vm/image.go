package vm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
)

// image is a disk that is there, and what it says of itself.
type image struct {
	container.Image
	path   string
	format string
	bytes  int64 // as the machine sees it
	link   bool  // it is not the driver's own, and named instead of being put into a box
}

// image makes a task's image present.
func (d *Driver) image(ctx context.Context, t drivers.Task) (image, error) {
	var noDisk error
	if filepath.IsAbs(t.Image) {
		if !d.config.Local {
			return image{}, fmt.Errorf("%w: image %s lies on the machine itself, and this one's owner does not offer what is there", drivers.ErrInvalid, t.Image)
		}
		info, err := os.Stat(t.Image)
		if err != nil {
			return image{}, fmt.Errorf("%w: image: %w", drivers.ErrInvalid, err)
		}
		if info.Mode().IsRegular() {
			found, err := file(t.Image, info.Size())
			if !errors.Is(err, errNoDisk) {
				return found, err
			}
			noDisk = err
		}
	}
	held, err := d.config.Images.Hold(ctx, t.Image, t.ID) // a file may be an archive of an image as well
	if err != nil && noDisk != nil {
		return image{}, fmt.Errorf("%w; and no archive: %w", noDisk, err)
	}
	if err != nil {
		return image{}, err
	}
	path, bytes, err := d.disks.make(ctx, held.Layers)
	if err != nil {
		return image{}, fmt.Errorf("make a disk of image %s: %w", t.Image, err)
	}
	return image{Image: held, path: path, format: "raw", bytes: bytes}, nil
}

var errNoDisk = errors.New("it is no disk")

// file looks at a file that is to be a disk. Its form is named to QEMU, which is never left to guess it; and a qcow2 file that
// names others is refused, since these could be any of this machine.
func file(path string, size int64) (image, error) {
	f, err := os.Open(path)
	if err != nil {
		return image{}, fmt.Errorf("%w: image: %w", drivers.ErrInvalid, err)
	}
	defer f.Close()
	found := image{path: path, format: "raw", bytes: size, link: true}
	head := make([]byte, 0x11000)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return image{}, fmt.Errorf("%w: image %s: %w", drivers.ErrInvalid, path, err)
	}
	head = head[:n]
	if bytes.HasPrefix(head, []byte("QFI\xfb")) && len(head) >= 104 {
		be := binary.BigEndian
		const externalData = 4
		if be.Uint64(head[8:]) != 0 || be.Uint32(head[4:]) >= 3 && be.Uint64(head[72:])&externalData != 0 {
			return image{}, fmt.Errorf("%w: image %s names another file, and what that is nobody may choose from outside: qemu-img convert makes one of both", drivers.ErrInvalid, path)
		}
		found.format, found.bytes = "qcow2", int64(be.Uint64(head[24:])&^(1<<63))
		return found, nil
	}
	for _, mark := range []struct {
		at   int
		text string
	}{{0x438, "\x53\xef"}, {0, "XFSB"}, {0x10040, "_BHRfS_M"}, {0, "hsqs"}} {
		if len(head) >= mark.at+len(mark.text) && string(head[mark.at:mark.at+len(mark.text)]) == mark.text {
			return found, nil
		}
	}
	return image{}, fmt.Errorf("%w: image %s: %w: neither qcow2 nor a file system (a disk with partitions is none)", drivers.ErrInvalid, path, errNoDisk)
}
