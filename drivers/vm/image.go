package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/vm/disk"
	"github.com/coinop/coinop/drivers/vm/initrd"
)

// image is a disk that is there, and what it says of itself.
type image struct {
	container.Image
	disk.Found
	path string
	link bool // it is not the driver's own, and named instead of being put into a box
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
			found, err := d.file(t.Image, info.Size())
			if !errors.Is(err, disk.ErrNone) {
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
	return image{Image: held, Found: disk.Found{Format: "raw", Bytes: bytes, Kind: "ext4"}, path: path}, nil
}

// file looks at a file that is to be a disk.
func (d *Driver) file(path string, size int64) (image, error) {
	f, err := os.Open(path)
	if err != nil {
		return image{}, fmt.Errorf("%w: image: %w", drivers.ErrInvalid, err)
	}
	defer f.Close()
	found, err := disk.Look(f, size, func(kind string) bool { return initrd.BuiltIn(d.config.Kernel, kind) })
	if err != nil {
		return image{}, fmt.Errorf("%w: image %s: %w", drivers.ErrInvalid, path, err)
	}
	return image{Found: found, path: path, link: true}, nil
}
